"""Converts seeds between projects: wsss convert IN OUT --from irn --to wsss.

Pickled files are parsed; no code in them is run. Existing files are not written again, so
that the same command continues after an interruption.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from wsss_plugins.errors import DataError, UserError, require_writable
from wsss_plugins.progress import ProgressBar

FORMATS = {
    'wsss': 'arrays scores, classes, background',
    'irn': "a pickled dict with 'keys', 'cam', 'high_res'",
    'psa, seam, mctformer, acr': 'a pickled dict {class id: map (H, W)}',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss convert``."""
    parser.epilog = 'formats: ' + '; '.join(f'{k}: {v}' for k, v in FORMATS.items())
    parser.add_argument('source', metavar='IN', type=Path, help='folder of the seeds')
    parser.add_argument('target', metavar='OUT', type=Path, help='folder to write to')
    parser.add_argument('--from', dest='layout', required=True, help='format of IN')
    parser.add_argument('--to', required=True, help='format of OUT')
    parser.add_argument(
        '--images',
        type=Path,
        help='folder of the photos, to whose sizes maps are resized',
    )
    parser.add_argument(
        '--num-classes',
        type=int,
        help='number of classes; files with this class id or a higher one are refused',
    )
    parser.add_argument(
        '--background-in', action='store_true', help='in IN, id 0 is the background'
    )
    parser.add_argument(
        '--background-out',
        action='store_true',
        help='in OUT, id 0 is the background; the seeds must have one',
    )
    parser.add_argument(
        '--normalise', action='store_true', help='scale every class to [0, 1]'
    )


def run(args: argparse.Namespace) -> None:
    """Converts files that do not exist yet; damaged files are reported and left out.

    Raises:
        UserError: IN is no folder, has no file of its format or is also OUT; a format is
            unknown; or a file could not be converted.
    """
    from wsss_plugins.structures.interchange import seed_format

    suffix, new = seed_format(args.layout).suffix, seed_format(args.to).suffix
    if not args.source.is_dir():
        raise UserError(f'{args.source} is no folder: name the folder of the seeds')
    if args.source.resolve() == args.target.resolve():
        raise UserError(
            f'IN and OUT are both {args.source}: name another folder as OUT'
        )
    require_writable(args.target)
    names = sorted(_names(args.source, suffix))
    if not names:
        raise UserError(f'{args.source} holds no *{suffix} files: name another folder')
    photos = _photos(args.images) if args.images else None
    todo = [n for n in names if not (args.target / f'{n}{new}').is_file()]
    failed = 0
    with ProgressBar(f'{args.layout} to {args.to}', len(names)) as bar:
        bar.begin_at(len(names) - len(todo))
        for name in todo:
            try:
                _convert_one(args, name, suffix, new, photos)
            except DataError as error:
                failed += 1
                bar.say(f'{name} left out: {error}')
            bar.advance()
    print(f'{args.target}: {len(names) - failed} of {len(names)} files')
    if failed:
        raise UserError(
            f'{failed} of {len(names)} files could not be converted, see above: mend them '
            'and give the same command again'
        )


def _convert_one(
    args: argparse.Namespace,
    name: str,
    suffix: str,
    new: str,
    photos: dict[str, Path] | None,
) -> None:
    from wsss_plugins.datasets.photos import read_image_size
    from wsss_plugins.structures.interchange import load_seed, save_seed

    source = args.source / f'{name}{suffix}'
    size = None
    if photos is not None:
        if name not in photos:
            raise DataError(f'{source} has no photo in {args.images}: correct --images')
        size = read_image_size(photos[name])
    seed = load_seed(
        source,
        args.layout,
        size,
        args.num_classes,
        args.background_in,
        normalise=True if args.normalise else None,
    )
    save_seed(args.target / f'{name}{new}', seed, args.to, args.background_out)


def _names(folder: Path, suffix: str) -> Iterator[str]:
    """Ids of the files with a suffix in a folder and its subfolders."""
    for path in folder.rglob(f'*{suffix}'):
        if not path.name.startswith('.'):
            yield path.relative_to(folder).as_posix().removesuffix(suffix)


def _photos(folder: Path) -> dict[str, Path]:
    """Paths of the photos in a folder, by id.

    Raises:
        UserError: The folder does not exist.
    """
    if not folder.is_dir():
        raise UserError(f'--images {folder} is no folder: name that of the photos')
    files = (path for path in sorted(folder.rglob('*')) if path.is_file())
    return {path.relative_to(folder).with_suffix('').as_posix(): path for path in files}
