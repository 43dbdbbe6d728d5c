#!/usr/bin/env python
"""Prepares a data set: tools/prepare_data.py synthetic --out data/synthetic."""

from __future__ import annotations

import argparse
from pathlib import Path

from wsss_plugins.cli import run_tool
from wsss_plugins.datasets import write_coco_label_maps
from wsss_plugins.datasets.synthetic import (
    SyntheticSpec,
    save_preview,
    write_devkit,
)
from wsss_plugins.errors import UserError
from wsss_plugins.progress import track


def add_synthetic(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command ``synthetic``."""
    parser = commands.add_parser(
        'synthetic',
        help='draw a small VOC-like data set of six classes',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of the devkit')
    parser.add_argument(
        '--size', type=int, nargs='+', default=[64], help='side, or height and width'
    )
    parser.add_argument('--train', type=int, default=2000, help='training images')
    parser.add_argument('--val', type=int, default=400, help='validation images')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2, help='processes that draw')
    parser.add_argument(
        '--preview', type=Path, help='also write a contact sheet to this PNG'
    )
    parser.set_defaults(command=synthetic)


def synthetic(args: argparse.Namespace) -> None:
    """Draws the synthetic data set."""
    if len(args.size) > 2:
        raise UserError(
            f'--size was given {len(args.size)} numbers: give one side, or height and width'
        )
    spec = SyntheticSpec(size=(args.size[0], args.size[-1]), seed=args.seed)
    if args.preview is not None:
        save_preview(args.preview, spec)
    written = write_devkit(args.out, spec, args.train, args.val, args.workers, track)
    print(f'{args.out / "VOC2012"}: {"written" if written else "already complete"}')


def add_coco_masks(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command ``coco-masks``."""
    parser = commands.add_parser(
        'coco-masks',
        help='draw the label maps of a COCO instances file, to evaluate on',
    )
    parser.add_argument(
        '--data-root', type=Path, required=True, help='folder with annotations/'
    )
    parser.add_argument('--split', required=True, help='e.g. train2014 or val2014')
    parser.add_argument(
        '--out', type=Path, help='SegmentationClass/ goes here (default: the data root)'
    )
    parser.set_defaults(command=coco_masks)


def coco_masks(args: argparse.Namespace) -> None:
    """Draws label maps of 80 classes and background."""
    print(f'{write_coco_label_maps(args.data_root, args.split, args.out)}: written')


def main() -> None:
    """Parses the command line and runs the sub-command."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True, metavar='DATASET')
    add_synthetic(commands)
    add_coco_masks(commands)
    args = parser.parse_args()
    args.command(args)


if __name__ == '__main__':
    run_tool(main)
