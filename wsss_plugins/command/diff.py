"""Compares two runs: wsss diff WORK_DIR WORK_DIR.

Says stage by stage which keys of the config, which code and which data differ, and how the
main numbers changed. The page has all numbers with their spread, every class, and the
images that changed most, side by side. A folder of work dirs of several random seeds counts
as one run with a spread.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from wsss_plugins.errors import require_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss diff``."""
    for name, which in (('one', 'first'), ('other', 'second')):
        parser.add_argument(
            name,
            metavar='WORK_DIR',
            type=Path,
            help=f'the {which} run, or a folder of runs with other random seeds',
        )
    parser.add_argument(
        '--images',
        type=int,
        default=6,
        help='images to show of each stage (default: 6)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('diff.html'),
        help='the page (default: diff.html)',
    )


def run(args: argparse.Namespace) -> None:
    """Prints what differs, and writes the page."""
    from wsss_plugins.report.difference import side_of
    from wsss_plugins.report.difference_page import difference_lines, difference_page
    from wsss_plugins.structures.tables import write_text

    require_writable(args.out.parent)
    one, other = (side_of(place.resolve()) for place in (args.one, args.other))
    for line in difference_lines(one, other):
        sys.stdout.write(f'{line}\n')
    write_text(args.out, difference_page(one, other, args.images))
    sys.stdout.write(f'{args.out}\n')
