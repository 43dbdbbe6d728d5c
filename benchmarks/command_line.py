#!/usr/bin/env python
"""CPU seconds that wsss, each of its commands and every script take to answer --help.

    python benchmarks/command_line.py

Prints user and system time together, the best of three, and leaves with exit code 1 where
one takes longer than --most seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from wsss_plugins.command.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measures every command."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--most', type=float, default=0.5, help='CPU seconds allowed')
    parser.add_argument('--runs', type=int, default=3)
    args = parser.parse_args()
    wsss = ['-m', 'wsss_plugins.command']
    commands = {'wsss': wsss} | {f'wsss {name}': [*wsss, name] for name in COMMANDS}
    for path in sorted((ROOT / 'tools').glob('*.py')):
        commands[f'tools/{path.name}'] = [str(path)]
    slow = []
    for name, words in commands.items():
        taken = min(seconds(words) for _ in range(args.runs))
        print(f'{name:<24} {taken:5.2f} s')
        if taken > args.most:
            slow.append(name)
    if slow:
        sys.exit(f'more than {args.most} s of CPU time: {", ".join(slow)}')


def seconds(words: list[str]) -> float:
    """CPU seconds of a command with ``--help``."""
    before = os.times()
    command = [sys.executable, *words, '--help']
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


if __name__ == '__main__':
    main()
