#!/usr/bin/env python
"""CPU seconds that every tool takes to answer --help.

    python benchmarks/command_line.py

Prints user and system time together, the best of three, and leaves with exit code 1 where
a tool takes longer than --most seconds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1] / 'tools'


def main() -> None:
    """Measures every tool."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--most', type=float, default=0.5, help='CPU seconds allowed')
    parser.add_argument('--runs', type=int, default=3)
    args = parser.parse_args()
    slow = []
    for tool in sorted(TOOLS.glob('*.py')):
        taken = min(seconds(tool) for _ in range(args.runs))
        print(f'{tool.name:<20} {taken:5.2f} s')
        if taken > args.most:
            slow.append(tool.name)
    if slow:
        sys.exit(f'more than {args.most} s of CPU time: {", ".join(slow)}')


def seconds(tool: Path) -> float:
    """CPU seconds of ``tool --help``."""
    before = os.times()
    subprocess.run([sys.executable, tool, '--help'], check=True, capture_output=True)
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


if __name__ == '__main__':
    main()
