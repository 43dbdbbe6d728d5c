"""Examines data sets and the environment: wsss doctor data/VOCdevkit.

Exit codes: 0 if no problem was found, 1 if there is a problem, 2 if the command is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path

from wsss_plugins.cli import positive
from wsss_plugins.errors import UserError, require_writable, unwritable

LIGHT = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss doctor``."""
    parser.add_argument(
        'roots',
        nargs='*',
        type=Path,
        metavar='DATA_ROOT',
        help='data sets, or folders with data sets (default: the folder data if it exists)',
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='decode only 200 images of each folder',
    )
    parser.add_argument(
        '--json', type=Path, metavar='FILE', help='also write the report to this file'
    )
    parser.add_argument(
        '--workers',
        type=positive,
        default=2,
        help='number of threads that decode images (default: 2)',
    )


def run(args: argparse.Namespace) -> None:
    """Prints the report and exits with its code: 0 if no problem was found, else 1.

    Raises:
        UserError: The file of ``--json`` cannot be written.
    """
    from wsss_plugins.doctor import examine

    if args.json is not None:
        require_writable(args.json.parent)
    roots = args.roots or [path for path in [Path('data')] if path.is_dir()]
    found = examine(roots, args.quick, args.workers)
    if args.json is not None:
        _write(args.json, json.dumps(found.to_json(), indent=2) + '\n')
    print(found.text())
    sys.exit(0 if found.healthy else 1)


def _write(path: Path, text: str) -> None:
    """Writes the report whole or not at all, also where torch cannot be imported."""
    part = path.with_name(f'.{path.stem}.part{path.suffix}')
    try:
        part.write_text(text, 'utf-8')
        part.replace(path)
    except OSError as error:
        reason = unwritable(error, path) or f'--json {path}: {error.strerror}'
        raise UserError(reason) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
