"""Examining MS COCO 2014 and anything in its layout."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.datasets.coco14 import (
    COCO_CATEGORIES,
    COCO_CLASS_OF,
    load_instances,
)
from wsss_plugins.datasets.preparation.coco14 import COCO_COUNTS
from wsss_plugins.doctor.folders import examine_folder, find_photos
from wsss_plugins.doctor.pictures import (
    Ward,
    examine_masks,
    examine_photos,
    indexed_folder,
    names_in,
)
from wsss_plugins.errors import DataError
from wsss_plugins.structures import IGNORE

MASKS = 'SegmentationClass'


def examine_coco(ward: Ward) -> str:
    """Examines a folder with ``annotations/`` and photos.

    Returns:
        What it is, in a few words.
    """
    root = ward.root
    files = {p.stem[10:]: p for p in (root / 'annotations').glob('instances_*.json')}
    splits = {*files, *(name for name in COCO_COUNTS if (root / name).is_dir())}
    folders = [root / 'annotations', *(root / s for s in splits)]
    examine_folder(ward, [*folders, *(root / MASKS / s for s in splits)])
    for split in sorted(splits):
        if split not in files:
            path = root / f'annotations/instances_{split}.json'
            ward.findings.add('instances-missing', folder=root / split, path=path)
        else:
            _examine_split(ward, split, files[split])
    return 'MS COCO 2014'


def _with_sizes(item: dict[str, Any]) -> dict[str, Any]:
    """The parts of an instances file that are compared with photos and masks."""
    keys = ('id', 'name', 'file_name', 'height', 'width', 'image_id', 'category_id')
    return {key: item[key] for key in keys if key in item}


def _examine_split(ward: Ward, split: str, path: Path) -> None:
    try:
        content = load_instances(path, keep=_with_sizes)
        images = {Path(i['file_name']).stem: i for i in content['images']}
    except (DataError, KeyError) as error:
        ward.findings.add('instances-broken', message=str(error))
        return
    ward.count(path, len(images), COCO_COUNTS.get(split, len(images)))
    categories: dict[int, set[int]] = {}
    for item in content['annotations']:
        categories.setdefault(item['image_id'], set()).add(item['category_id'])
    folder = ward.root / split
    names = sorted(image['file_name'] for image in images.values())
    sizes = examine_photos(ward, find_photos(ward, folder, names, path.name))
    for name, size in sorted(sizes.items()):
        expected = (images[name]['height'], images[name]['width'])
        if size != expected:
            example = f'{name} is {size[0]} x {size[1]} instead of {expected[0]} x {expected[1]}'
            ward.findings.add('photo-size', example, folder=folder)
    unlisted = {n for n in names_in(folder) if n.endswith('.jpg') and n[:2] != '._'}
    for name in unlisted - set(names):
        ward.findings.add('photo-unlisted', name, folder=folder)
    ward.facts.append(
        f'{split}: {len(images):,} images, {len(images) - len(categories):,} of them '
        'without annotation'
    )
    classes_of = {n: categories.get(i['id'], set()) for n, i in images.items()}
    _examine_masks(ward, split, sizes, classes_of)


def _examine_masks(
    ward: Ward,
    split: str,
    sizes: dict[str, tuple[int, int]],
    categories_of: dict[str, set[int]],
) -> None:
    """Examines masks, if there are any; otherwise reports how to draw them."""
    folder = ward.root / MASKS / split
    there = names_in(folder)
    redraw = (
        f'wsss prepare coco-masks --data-root '
        f'{shlex.quote(str(ward.root))} --split {split}'
    )
    if not there:
        ward.facts.append(f'{split}: no label maps; to evaluate, draw them: {redraw}')
        return
    wanted = sorted(f'{name}.png' for name in categories_of)
    for name in wanted:
        if name not in there:
            total = len(wanted)
            ward.findings.add(
                'mask-missing', name, folder=folder, total=total, mend=redraw
            )
    most = len(COCO_CATEGORIES)
    foreign: list[tuple[str, bool]] = []

    def judge(path: Path, values: np.ndarray) -> bool:
        """Determines the kind of ids of a mask from the annotations of its image."""
        found = {int(v) for v in values if v not in (0, IGNORE)}
        known = categories_of[path.stem]
        if found <= {COCO_CLASS_OF[c] + 1 for c in known}:
            return True
        foreign.append((path.name, found <= known))
        return found <= known or all(v <= most for v in found)

    masks = [folder / name for name in wanted if name in there]
    examine_masks(ward, masks, sizes, 1 + most, judge)
    kind = 'mask-91' if any(is_91 for _, is_91 in foreign) else 'mask-foreign'
    for name, is_91 in foreign:
        if is_91:
            out = indexed_folder(folder)
            ward.findings.add('mask-91', name, folder=folder, out=out)
        elif kind == 'mask-foreign':
            ward.findings.add('mask-foreign', name, folder=folder, mend=redraw)
    ward.facts.append(f'{split}: {len(masks):,} label maps')
