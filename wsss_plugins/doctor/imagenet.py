"""Examining the images of ImageNet's classification task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsss_plugins.datasets.imagenet import IMAGENET_COUNTS, ImageNet
from wsss_plugins.doctor.folders import examine_folder
from wsss_plugins.doctor.pictures import Ward, examine_photos
from wsss_plugins.errors import DataError


def examine_imagenet(ward: Ward) -> str:
    """Reads the splits, sorted by class or flat with the development kit.

    Returns:
        What it is, in a few words.
    """
    splits = [name for name in IMAGENET_COUNTS if (ward.root / name).is_dir()]
    folders = [ward.root / split for split in splits]
    within = [path for folder in folders for path in folder.iterdir() if path.is_dir()]
    examine_folder(ward, [*folders, *within])
    for split in splits:
        _examine_split(ward, split)
    return 'ImageNet (ILSVRC 2012)'


def _examine_split(ward: Ward, split: str) -> None:
    """The labels, the number and the pixels of the images of one split."""
    try:
        dataset = ImageNet(ward.root, split, require_images=False)
    except DataError as error:
        ward.findings.add('split-broken', message=str(error))
        return
    ward.count(ward.root / split, len(dataset), IMAGENET_COUNTS[split])
    paths = [dataset.image_path(i) for i in range(len(dataset))]
    examine_photos(ward, _not_lost(ward, paths))
    shown = {int(dataset.labels(i).argmax()) for i in range(len(dataset))}
    ward.facts.append(f'{split}: {len(dataset):,} images of {len(shown):,} classes')


def _not_lost(ward: Ward, paths: Sequence[Path]) -> list[Path]:
    """The paths without links to files that are gone, which become a finding."""
    for path in paths:
        if not path.exists():
            ward.findings.add('link-broken', path.name, folder=path.parent)
    return [path for path in paths if path.exists()]
