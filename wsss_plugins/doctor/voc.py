"""Examining data sets in the layout of VOC's devkit, the synthetic set among them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsss_plugins.datasets.annotation_xml import object_names
from wsss_plugins.datasets.files import read_lines
from wsss_plugins.datasets.photo_files import PhotoFiles
from wsss_plugins.datasets.preparation.sbd import SBD_COUNTS
from wsss_plugins.datasets.preparation.tree import RECORD
from wsss_plugins.datasets.voc12 import TABLE, VOC_CLASSES, VOC_COUNTS
from wsss_plugins.doctor.folders import examine_folder, find_photos, read_list
from wsss_plugins.doctor.pictures import Ward, examine_masks, examine_photos, names_in
from wsss_plugins.errors import DataError
from wsss_plugins.structures import load_npz

PHOTOS, OWN, AUG = 'JPEGImages', 'SegmentationClass', 'SegmentationClassAug'
SBD = 'SBD, in the layout of VOC'
KNOWN_COUNTS = {
    SBD_COUNTS['val']: "the images of SBD's own val",
    SBD_COUNTS['train']: "the images of SBD's own train",
    sum(SBD_COUNTS.values()): "SBD's masks without VOC's own",
    VOC_COUNTS['train']
    + VOC_COUNTS['val']: "VOC's own train and val, without those of SBD",
    VOC_COUNTS['train']: "VOC's own train",
}
"""Sizes of folders of masks that are something else than the 10,582 of train_aug."""


def examine_voc(ward: Ward) -> str:
    """Examines a devkit.

    Returns:
        What it is, in a few words.
    """
    root = ward.root
    classes, title = _classes(ward)
    official = classes == VOC_CLASSES and title == 'Pascal VOC 2012'
    folders = [root / name for name in (PHOTOS, 'Annotations', OWN, AUG)]
    examine_folder(ward, [*folders, root / 'ImageSets/Segmentation'])
    photos = PhotoFiles(folders[0])
    lists = _examine_lists(ward, official, photos)
    ids = list(dict.fromkeys(name for names in lists.values() for name in names))
    asked = [f'{name}.jpg' for name in ids]  # another suffix is read too
    files = [(photos.candidates(name) or [name])[0] for name in asked]
    paths = find_photos(ward, folders[0], files, 'the lists')
    sizes = examine_photos(ward, paths)
    labelled = [n for split, names in lists.items() if split != 'test' for n in names]
    if title != SBD:  # whose labels are those of its masks
        _examine_labels(ward, list(dict.fromkeys(labelled)), classes)
    _examine_masks(ward, lists, sizes, 1 + len(classes))
    counts = ', '.join(f'{split} {len(names):,}' for split, names in lists.items())
    ward.facts.insert(0, f'images: {counts or "none listed"}')
    return title


def _classes(ward: Ward) -> tuple[tuple[str, ...], str]:
    """The classes of the set, and what it is."""
    path = ward.root / 'classes.txt'
    if path.is_file():
        try:
            classes = tuple(read_lines(path))
        except DataError as error:
            ward.findings.add('file-broken', message=str(error))
            return VOC_CLASSES, 'VOC layout'
        synthetic = any((ward.root / f'{s}complete.json').is_file() for s in ('', 'in'))
        title = (
            'the synthetic set' if synthetic else f'{len(classes)} classes of its own'
        )
        return classes, f'{title}, in the layout of VOC'
    record = ward.root / RECORD
    if record.is_file() and '"sbd"' in record.read_text('utf-8', errors='replace'):
        return VOC_CLASSES, SBD
    return VOC_CLASSES, 'Pascal VOC 2012'


def prepare_command(root: Path) -> str:
    """The command that makes a whole tree: in place where nothing is in its way."""
    ways = (AUG, 'cls_labels.npz', RECORD, 'ImageSets/Segmentation/train_aug.txt')
    in_place = root.name == 'VOC2012' and not any((root / way).exists() for way in ways)
    out = root.parent if in_place else Path('data/VOCdevkit_whole')
    return (
        f'wsss prepare voc12 {shlex.quote(str(root))} --sbd benchmark.tgz '
        f'--out {shlex.quote(str(out))}'
    )


def _examine_lists(
    ward: Ward, official: bool, photos: PhotoFiles
) -> dict[str, list[str]]:
    """Reads all lists of segmentation."""
    folder = ward.root / 'ImageSets/Segmentation'
    paths = sorted(p for p in folder.glob('*.txt') if not p.name.startswith('.'))

    def is_image(line: str) -> bool:
        """Whether a line with blanks is one id, as the data set decides."""
        return ' ' in line and bool(photos.candidates(line))

    lists = {path.stem: read_list(ward, path, is_image) for path in paths}
    mend = prepare_command(ward.root)
    for split in ('train', 'val'):
        if split not in lists:
            path = folder / f'{split}.txt'
            hint = 'copy ImageSets of VOCtrainval_11-May-2012.tar there'
            ward.findings.add('list-missing', path=path, mend=hint)
    if official:
        _compare_with_official(ward, folder, lists, mend)
    val = set(lists.get('val', ()))
    for split in ('train', 'train_aug'):
        for name in lists.get(split, ()):
            if name in val:
                path = folder / f'{split}.txt'
                ward.findings.add('list-overlap', name, path=path, prepare=mend)
    return lists


def _compare_with_official(
    ward: Ward, folder: Path, lists: Mapping[str, Sequence[str]], mend: str
) -> None:
    for split, names in lists.items():
        count, known = len(names), VOC_COUNTS.get(split)
        if split == 'train_aug' and set(names) == set(lists.get('train', ())):
            path = folder / f'{split}.txt'
            ward.findings.add(
                'train-for-train-aug', path=path, found=count, prepare=mend
            )
        elif known is not None and names:
            ward.count(folder / f'{split}.txt', count, known)
    if 'train_aug' not in lists and lists.get('train') and not ward.prepared:
        ward.findings.add('no-train-aug', found=len(lists['train']), prepare=mend)


def _examine_labels(ward: Ward, ids: Sequence[str], classes: Sequence[str]) -> None:
    folder = ward.root / 'Annotations'
    there = names_in(folder)
    known = set(classes)

    def look(name: str) -> None:
        """Notes an annotation that is missing, broken or names an unknown class."""
        path = folder / f'{name}.xml'
        facts: dict[str, Any] = dict(folder=folder, total=len(ids))
        if path.name not in there:
            ward.findings.add('xml-missing', path.name, **facts)
            return
        try:
            unknown = object_names(path.read_bytes(), str(path)) - known
        except (DataError, OSError):
            ward.findings.add('xml-broken', path.name, **facts)
            return
        if unknown:
            example = f'{path.name} names {min(unknown)}'
            facts |= dict(classes=len(classes), root=ward.root)
            ward.findings.add('xml-class', example, **facts)

    by_table = not folder.is_dir() and (ward.root / TABLE).is_file()
    if ids and not by_table:  # as the data set reads a part of VOC without Annotations
        ward.each(look, ids, 'annotations')
    _examine_label_file(ward, ids, len(classes))


def _examine_label_file(ward: Ward, ids: Sequence[str], num_classes: int) -> None:
    path = ward.root / TABLE
    if not path.is_file():
        return
    try:
        arrays = load_npz(path)
        names, labels = arrays['names'].tolist(), arrays['labels']
    except (DataError, KeyError) as error:
        ward.findings.add('label-broken', message=f'{path} holds no labels ({error})')
        return
    if labels.shape != (len(names), num_classes):
        message = f'{path} has labels of shape {labels.shape} for {len(names)} names'
        ward.findings.add('label-broken', message=message)
    elif missing := set(ids) - set(names):
        message = f'{path} lacks {len(missing):,} images, e.g. {min(missing)}'
        ward.findings.add('label-broken', message=message)


def _examine_masks(
    ward: Ward,
    lists: Mapping[str, Sequence[str]],
    sizes: dict[str, tuple[int, int]],
    num_classes: int,
) -> None:
    for folder, splits in ((OWN, ('train', 'val')), (AUG, ('train_aug',))):
        ids = [name for split in splits for name in lists.get(split, ())]
        path = ward.root / folder
        if not ids or (folder == AUG and not path.is_dir()):
            continue  # nothing that trains here reads masks of train_aug
        there = {name for name in names_in(path) if name.endswith('.png')}
        wanted = list(dict.fromkeys(f'{name}.png' for name in ids))
        missing = [name for name in wanted if name not in there]
        mend = (
            f'move it away, then {prepare_command(ward.root)}'
            if folder == AUG
            else 'copy SegmentationClass of VOCtrainval_11-May-2012.tar there'
        )
        if missing and folder == AUG and len(there) in KNOWN_COUNTS:
            which = KNOWN_COUNTS[len(there)]
            ward.findings.add(
                'mask-variant', folder=path, found=len(there), which=which, mend=mend
            )
        for name in missing:
            ward.findings.add(
                'mask-missing', name, folder=path, total=len(wanted), mend=mend
            )
        # Masks of images in no list are looked at too: an evaluation may read them.
        masks = [path / name for name in sorted(there) if not name.startswith('.')]
        examine_masks(ward, masks, sizes, num_classes)
        ward.facts.append(f'masks: {folder} {len(masks):,}')
