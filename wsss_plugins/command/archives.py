"""The data sets of ``wsss prepare`` that are made of archives, which it can download."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_plugins.cli import positive
from wsss_plugins.errors import UserError

if TYPE_CHECKING:
    from wsss_plugins.datasets.preparation import Prepared


def add_voc12(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command ``voc12``."""
    parser = commands.add_parser(
        'voc12', help='Pascal VOC 2012 with train_aug, from its tar or folder and SBD'
    )
    sources(parser, 'VOCtrainval_11-May-2012.tar, VOC2012test.tar, or their folder')
    parser.add_argument(
        '--sbd',
        type=Path,
        nargs='+',
        help='benchmark.tgz, its folder, or SegmentationClassAug as folder or zip',
    )
    parser.add_argument(
        '--no-sbd',
        action='store_true',
        help='prepare no train_aug and none of its masks',
    )
    common(parser, 'data/VOCdevkit')
    parser.add_argument(
        '--skip-difficult',
        action='store_true',
        help='leave objects that are marked as difficult out of the image-level labels',
    )
    parser.set_defaults(prepare=voc12)


def voc12(args: argparse.Namespace) -> None:
    """Prepares the folder VOC2012 in ``--out``."""
    from wsss_plugins.datasets.preparation import prepare_voc12

    if args.sbd and args.no_sbd:
        raise UserError('--sbd and --no-sbd were both given: choose one')
    if not (args.sbd or args.no_sbd or args.download or args.mirror):
        raise UserError(
            'train_aug and its masks need SBD: give --sbd benchmark.tgz, --download to '
            'fetch it, or --no-sbd to do without'
        )
    say_prepared(
        prepare_voc12(
            archives(args, 'voc12', args.sources),
            None if args.no_sbd else archives(args, 'sbd', args.sbd),
            args.out,
            copy=args.copy,
            difficult=not args.skip_difficult,
            any_count=args.any_count,
            workers=args.workers,
        )
    )


def add_sbd(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command ``sbd``."""
    parser = commands.add_parser('sbd', help='masks of SBD alone, .mat to PNG')
    sources(parser, 'benchmark.tgz, or the folder benchmark_RELEASE')
    common(parser, 'data/sbd')
    parser.set_defaults(prepare=sbd)


def sbd(args: argparse.Namespace) -> None:
    """Prepares a folder of SBD alone."""
    from wsss_plugins.datasets.preparation import prepare_sbd

    say_prepared(
        prepare_sbd(
            archives(args, 'sbd', args.sources),
            args.out,
            args.copy,
            args.any_count,
            args.workers,
        )
    )


def add_coco14(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command ``coco14``."""
    parser = commands.add_parser(
        'coco14', help='MS COCO 2014 with label maps, from its zips or folders'
    )
    sources(
        parser, 'train2014.zip, val2014.zip, annotations_trainval2014.zip or folders'
    )
    common(parser, 'data/coco')
    parser.add_argument(
        '--label-maps',
        type=Path,
        help='folder or zip of label maps to use instead of drawing them',
    )
    parser.add_argument(
        '--ids',
        type=int,
        choices=(80, 91),
        default=80,
        help='values in these label maps: 80 for classes 1 to 80, 91 for category ids 1 '
        'to 90, which are converted (default: 80)',
    )
    parser.set_defaults(prepare=coco14)


def coco14(args: argparse.Namespace) -> None:
    """Prepares a folder of COCO 2014."""
    from wsss_plugins.datasets.preparation import prepare_coco14

    done = prepare_coco14(
        archives(args, 'coco14', args.sources),
        args.out,
        copy=args.copy,
        any_count=args.any_count,
        label_maps=args.label_maps,
        ids=args.ids,
        workers=args.workers,
    )
    say_prepared(done)


def add_imagenet_seg(commands: argparse._SubParsersAction) -> None:
    """Adds the sub-command ``imagenet-seg``."""
    parser = commands.add_parser(
        'imagenet-seg', help='ImageNet-Segmentation: checks and links gtsegs_ijcv.mat'
    )
    sources(parser, 'gtsegs_ijcv.mat, or its folder', most='?')
    common(parser, 'data/imagenet_seg', threads=False)
    parser.set_defaults(prepare=imagenet_seg)


def imagenet_seg(args: argparse.Namespace) -> None:
    """Checks and links the file of ImageNet-Segmentation."""
    from wsss_plugins.datasets.preparation import prepare_imagenet_seg

    given = [args.sources] if args.sources else []
    (source,) = archives(args, 'imagenet-seg', given)
    say_prepared(prepare_imagenet_seg(source, args.out, args.copy, args.any_count))


def sources(parser: argparse.ArgumentParser, text: str, most: str = '*') -> None:
    """Adds the argument for downloaded files, and the options that download them."""
    parser.add_argument('sources', type=Path, nargs=most, metavar='SOURCE', help=text)
    parser.add_argument(
        '--download',
        action='store_true',
        help='fetch what is not named from the hosts of the data set; an interrupted '
        'download goes on, and nothing is fetched twice',
    )
    parser.add_argument(
        '--from',
        dest='mirror',
        metavar='FOLDER',
        help='take what is not named from this folder, or from below this http address',
    )
    parser.add_argument(
        '--archives',
        type=Path,
        default=Path('data/archives'),
        metavar='FOLDER',
        help='where fetched files are kept (default: data/archives)',
    )


def archives(
    args: argparse.Namespace, data_set: str, given: Sequence[Path] | None
) -> Sequence[Path]:
    """The files that the command line names, or those that it says how to get.

    Raises:
        UserError: No file is named, and neither ``--download`` nor ``--from`` is given.
        DataError: A file cannot be fetched.
    """
    from wsss_plugins.datasets.preparation.download import archives_of, fetch_all

    if given:
        return given
    if not (args.download or args.mirror):
        raise UserError(
            'name the files that you have downloaded, or give --download to fetch them'
        )
    return fetch_all(archives_of(data_set), args.archives, args.mirror)


def common(parser: argparse.ArgumentParser, out: str, threads: bool = True) -> None:
    """Adds the options that all real data sets share."""
    parser.add_argument(
        '--out',
        type=Path,
        default=Path(out),
        help=f'folder to write to (default: {out})',
    )
    parser.add_argument(
        '--copy',
        action='store_true',
        help='copy files from folders instead of linking to them',
    )
    parser.add_argument(
        '--any-count',
        action='store_true',
        help='accept a part of the data set, such as for a trial',
    )
    if threads:
        parser.add_argument(
            '--workers',
            type=positive,
            help='number of threads that decode (default: one per core, at most 16)',
        )


def say_prepared(done: Prepared) -> None:
    """Prints the folder and the numbers of files that were prepared."""
    print(f'{done.root}: {"complete" if done.fresh else "already complete"}')
    for name, count in done.counts.items():
        print(f'  {name.replace("_", " "):<24} {count:>7,}')
