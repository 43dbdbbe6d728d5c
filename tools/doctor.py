#!/usr/bin/env python
"""Examines data sets and the environment: tools/doctor.py data/VOCdevkit.

Exit code 0: healthy; 1: something was found; 2: a mistake in the command.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from wsss_plugins.cli import positive, run_tool
from wsss_plugins.errors import UserError


def main() -> None:
    """Reads the command and examines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'roots',
        nargs='*',
        type=Path,
        metavar='DATA_ROOT',
        help='data sets, or folders that hold some (default: data, if there is one)',
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='decode 200 pictures of each folder, not all',
    )
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='also write this file'
    )
    parser.add_argument(
        '--workers', type=positive, default=2, help='threads that decode (default: 2)'
    )
    run_tool(parser, report, check=False)


def report(args: argparse.Namespace) -> None:
    """Prints what was found and leaves with the code that says it.

    Raises:
        UserError: The file of ``--json`` cannot be written.
    """
    from wsss_plugins.doctor import examine

    roots = args.roots or [path for path in [Path('data')] if path.is_dir()]
    found = examine(roots, args.quick, args.workers)
    if args.json is not None:
        try:
            args.json.write_text(json.dumps(found.to_json(), indent=2) + '\n', 'utf-8')
        except OSError as error:
            raise UserError(f'--json {args.json}: {error.strerror}') from error
    print(found.text())
    sys.exit(0 if found.healthy else 1)


if __name__ == '__main__':
    main()
