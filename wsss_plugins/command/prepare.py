"""Prepares a data set: wsss prepare voc12 VOC.tar --sbd benchmark.tgz."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from wsss_plugins.cli import positive
from wsss_plugins.command.archives import (
    add_coco14,
    add_imagenet_seg,
    add_sbd,
    add_voc12,
    say_prepared,
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
    parser.add_argument('--workers', type=int, default=2, help='number of processes')
    parser.add_argument(
        '--recombined',
        action='store_true',
        help='combine bodies and heads to 36 other classes in other colours, which '
        'configs/pretrain/synthetic.py is trained on',
    )
    parser.add_argument(
        '--preview', type=Path, help='also write a contact sheet to this PNG'
    )
    parser.set_defaults(prepare=synthetic)


def synthetic(args: argparse.Namespace) -> None:
    """Draws the synthetic data set."""
    from wsss_plugins.datasets.synthetic import (
        RecombinedSpec,
        SyntheticSpec,
        save_preview,
        write_devkit,
    )

    if len(args.size) > 2:
        raise UserError(
            f'--size was given {len(args.size)} numbers: give one side, or height and width'
        )
    kind = RecombinedSpec if args.recombined else SyntheticSpec
    spec = kind(size=(args.size[0], args.size[-1]), seed=args.seed)
    if args.preview is not None:
        save_preview(args.preview, spec)
    written = write_devkit(args.out, spec, args.train, args.val, args.workers, track)
    print(f'{args.out / "VOC2012"}: {"written" if written else "already complete"}')


def add_coco_masks(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command ``coco-masks``."""
    parser = commands.add_parser(
        'coco-masks',
        help='draw label maps for evaluation from an instances file of COCO',
    )
    parser.add_argument(
        '--data-root', type=Path, required=True, help='folder with annotations/'
    )
    parser.add_argument('--split', required=True, help='e.g. train2014 or val2014')
    parser.add_argument(
        '--out',
        type=Path,
        help='folder in which SegmentationClass/ is made (default: the data root)',
    )
    parser.set_defaults(prepare=coco_masks)


def coco_masks(args: argparse.Namespace) -> None:
    """Draws label maps of 80 classes and the background."""
    from wsss_plugins.datasets import write_coco_label_maps

    print(f'{write_coco_label_maps(args.data_root, args.split, args.out)}: written')


def add_convert_masks(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command ``convert-masks``."""
    parser = commands.add_parser(
        'convert-masks',
        help='convert a folder of coloured masks, or of category ids, to label maps',
    )
    parser.add_argument('folder', type=Path, help='PNG files')
    parser.add_argument(
        '--kind',
        choices=('colours', 'category-ids'),
        required=True,
        help="VOC's colours, or COCO's category ids 1 to 90",
    )
    parser.add_argument('--out', type=Path, required=True, help='another folder')
    parser.set_defaults(prepare=convert)


def convert(args: argparse.Namespace) -> None:
    """Converts masks to label maps."""
    from wsss_plugins.datasets.preparation import convert_masks

    count = convert_masks(args.folder, args.out, args.kind)
    print(f'{args.out}: {count:,} label map{"s" * (count != 1)}')


def add_labels(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command ``labels``."""
    parser = commands.add_parser(
        'labels',
        help='tags and masks of your own photos from COCO, VOC, labelme or YOLO files',
    )
    parser.add_argument('format', choices=('coco', 'voc', 'labelme', 'yolo'))
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='SOURCE',
        help='the JSON file of COCO, or the folder of the XML, JSON or text files; '
        'train=SOURCE val=SOURCE says the split',
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='folder of the data set that is made'
    )
    parser.add_argument(
        '--images', type=Path, help='folder of the photos (default: looked for)'
    )
    parser.add_argument(
        '--names', type=Path, help='yolo: file with the names of the classes, in order'
    )
    parser.add_argument(
        '--classes', type=Path, help='file with the classes to take, one a line'
    )
    parser.add_argument(
        '--no-masks', dest='masks', action='store_false', help='make tags alone'
    )
    parser.add_argument(
        '--skip-missing',
        action='store_true',
        help='leave out annotations whose photo is not there',
    )
    parser.add_argument(
        '--include-unlabelled',
        action='store_true',
        help='take photos without annotation as showing none of the classes',
    )
    parser.add_argument(
        '--copy', action='store_true', help='copy the photos instead of linking to them'
    )
    parser.add_argument('--workers', type=positive, help='number of threads that draw')
    parser.set_defaults(prepare=labels)


def labels(args: argparse.Namespace) -> None:
    """Makes the data set, and says what it has."""
    from wsss_plugins.datasets import FolderWSSS
    from wsss_plugins.datasets.look import Looks
    from wsss_plugins.datasets.preparation import prepare_labels

    done = prepare_labels(
        args.format,
        args.sources,
        args.out,
        images=args.images,
        names=args.names,
        classes=args.classes,
        masks=args.masks,
        skip_missing=args.skip_missing,
        include_unlabelled=args.include_unlabelled,
        copy=args.copy,
        workers=args.workers,
    )
    say_prepared(done)
    looks = Looks()
    whole: dict[str, Any] = dict(data_root=done.root, split='all', test_mode=True)
    for line in looks(FolderWSSS(**whole), str(done.root)).lines():
        print(line)
    if (done.root / 'masks').is_dir():
        measured = FolderWSSS(**whole, label_maps='masks', only_with_maps=True)
        for line in looks(measured, f'{done.root} with masks').lines():
            print(line)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``wsss prepare``."""
    commands = parser.add_subparsers(required=True, metavar='DATASET')
    for add in (
        add_voc12,
        add_sbd,
        add_coco14,
        add_imagenet_seg,
        add_synthetic,
        add_coco_masks,
        add_convert_masks,
        add_labels,
    ):
        add(commands)


def run(args: argparse.Namespace) -> None:
    """Prepares the data set that the first word names."""
    args.prepare(args)
