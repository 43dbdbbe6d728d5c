"""Recognises data sets in a folder by their layout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from wsss_plugins.datasets.imagenet_seg import MAT_FILE
from wsss_plugins.datasets.tag_table import is_tag_table

OF_IMAGENET = re.compile(r'n\d{8}|ILSVRC2012_val_\d{8}\.JPEG')
"""Names of ImageNet's folders of one class, and of the images of its archive ``val``."""

DEPTH = 3
"""Folders below the one that was named in which data sets are looked for."""


def kind_of_folder(folder: Path) -> str | None:
    """Which layout a folder has: a key of the examiners in ``examine.py``, or none."""
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError:
        return None
    if 'JPEGImages' in names and names & {
        'ImageSets',
        'Annotations',
        'SegmentationClass',
    }:
        return 'voc'
    if any((folder / 'annotations').glob('instances_*.json')):
        return 'coco'
    splits = names & {'train2014', 'val2014'}  # of photos, not of label maps
    if any(path for split in splits for path in (folder / split).glob('*.jpg')):
        return 'coco'
    if MAT_FILE in names:
        return 'imagenet-seg'
    if 'cls' in names and any((folder / 'cls').glob('*.mat')):
        return 'sbd'
    if any(_of_imagenet(folder / split) for split in names & {'train', 'val'}):
        return 'imagenet'
    tables = [name for name in names if name.casefold().endswith('.csv')]
    if tables and ('images' in names or any(is_tag_table(folder / n) for n in tables)):
        return 'folder'
    return None


def _of_imagenet(split: Path) -> bool:
    """Whether a folder holds folders of WordNet ids, or images named as ImageNet's."""
    try:
        return any(OF_IMAGENET.fullmatch(entry.name) for entry in split.iterdir())
    except OSError:
        return False


def find_data_sets(root: Path, depth: int = DEPTH) -> Iterator[tuple[str, Path]]:
    """Yields the kind and folder of every data set in ``root`` or below it.

    Nothing is looked for inside a data set that was found.
    """
    kind = kind_of_folder(root)
    if kind is not None:
        yield kind, root
    elif depth:
        try:
            below = sorted(path for path in root.iterdir() if path.is_dir())
        except OSError:
            return
        for path in below:
            if not path.name.startswith('.'):
                yield from find_data_sets(path, depth - 1)
