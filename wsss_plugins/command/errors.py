"""Shows what is wrong where in label maps or seeds: wsss errors WORK_DIR/STAGE.

Writes errors.html, a page of missed and false objects, outlines, classes taken for each
other, and the worst images; errors.json and images.csv have all numbers. The images and
their masks are those on which the stage, or one that reads it, was measured; for a folder
from elsewhere, name them with --dataset, --data-root, --split and --masks.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from wsss_plugins.errors import ConfigError, UserError, require_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss errors``."""
    parser.add_argument(
        'place',
        metavar='FOLDER',
        type=Path,
        help='folder of a stage, or of label maps (.png) or seeds (.npz)',
    )
    parser.add_argument('--dataset', help='type of the data set, such as VOC12')
    parser.add_argument('--data-root', help='folder of the data set')
    parser.add_argument('--split', help='name of its subset, such as val')
    parser.add_argument('--masks', help='folder of its masks')
    parser.add_argument(
        '--threshold',
        type=float,
        help='of seeds: the score above which a pixel is an object (default: their own '
        'background, or the best threshold that a stage of the work dir found)',
    )
    parser.add_argument(
        '--gallery',
        type=int,
        default=4,
        help='worst images to show of each kind of error (default: 4)',
    )
    parser.add_argument(
        '--out', type=Path, help='folder to write to (default: errors_NAME)'
    )
    parser.add_argument(
        '--import', dest='modules', nargs='*', default=[], metavar='MODULE'
    )


def run(args: argparse.Namespace) -> None:
    """Writes the page and prints the main numbers.

    Raises:
        UserError: There is no such folder, or its masks are not known.
    """
    from wsss_plugins.report.error_stage import examine_errors
    from wsss_plugins.structures.layout import ERRORS_PAGE_FILE

    for module in args.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ConfigError(f'--import {module}: {error}') from error
    place = args.place.resolve()
    if not place.is_dir():
        raise UserError(
            f'{args.place} is no folder: name that of a stage, of label maps or of seeds'
        )
    out = args.out or Path(f'errors_{place.name}')
    require_writable(out)
    found = examine_errors(
        place, out, _images(args, place), args.threshold, args.gallery
    )
    texts = (
        f'{key} {value:.2f}' if isinstance(value, float) else f'{key} {value}'
        for key, value in found.items()
    )
    sys.stdout.write(f'{"  ".join(texts)}\n{out / ERRORS_PAGE_FILE}\n')


def _images(args: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Config of the images with masks."""
    from wsss_plugins.report.recorded import recorded_dataset

    given = dict(
        type=args.dataset,
        data_root=args.data_root,
        split=args.split,
        label_maps=args.masks,
    )
    given = {key: value for key, value in given.items() if value is not None}
    if len(given) == 4:
        return given
    return {**recorded_dataset(place), **given}
