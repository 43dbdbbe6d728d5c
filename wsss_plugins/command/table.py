"""Puts results of several runs into one table: wsss table WORK_DIR ...

Every row has a short form of its supervision card, which states how the number was made.
Rows that cannot be compared, such as results on other images or from other initial
weights, are refused. With --mix they are marked instead, and notes below the table explain
the differences.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss table``."""
    parser.add_argument(
        'paths',
        nargs='+',
        type=Path,
        metavar='PATH',
        help='a work dir, the folder of a stage, its record.json, or a metrics.json',
    )
    parser.add_argument(
        '--stage',
        nargs='+',
        default=[],
        help='names of the stages (default: those that measure mIoU or mAP)',
    )
    parser.add_argument(
        '--metric',
        nargs='+',
        default=[],
        help='names of the metrics (default: mIoU or mAP)',
    )
    parser.add_argument(
        '--mean',
        action='store_true',
        help='mean and sample standard deviation over the runs in one folder',
    )
    parser.add_argument(
        '--mix',
        action='store_true',
        help='mark rows that cannot be compared, do not refuse them',
    )
    parser.add_argument('--csv', action='store_true', help='CSV instead of Markdown')
    parser.add_argument('--out', type=Path, help='also write the table to this file')


def run(args: argparse.Namespace) -> None:
    """Prints the table, and writes it to the file of ``--out`` if one is given."""
    from wsss_plugins.report.comparison import comparison
    from wsss_plugins.report.rows import rows_of_all
    from wsss_plugins.structures import atomic_path

    rows = rows_of_all(args.paths, args.stage, args.metric, args.mean)
    text = comparison(rows, args.mix, args.csv)
    print(text, end='')
    if args.out:
        with atomic_path(args.out) as part:
            part.write_text(text, encoding='utf-8')
