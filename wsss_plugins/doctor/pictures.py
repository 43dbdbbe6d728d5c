"""Examining many photos and masks in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags

from wsss_plugins.datasets.preparation.pictures import labels_of_colours
from wsss_plugins.datasets.preparation.tree import in_threads
from wsss_plugins.doctor.findings import Findings
from wsss_plugins.errors import DataError
from wsss_plugins.progress import track
from wsss_plugins.structures import IGNORE
from wsss_plugins.structures.decoding import opened_picture

QUICK = 200
"""Pictures of each folder that ``--quick`` decodes."""


@dataclass
class Ward:
    """The state of the examination of one data set.

    Attributes:
        root: The folder.
        findings: The findings so far.
        quick: Whether to decode only a sample of the pictures.
        workers: Threads that decode.
        facts: Lines that say what there is.
        prepared: Whether ``wsss prepare`` prepared the data set completely.
    """

    root: Path
    findings: Findings
    quick: bool = False
    workers: int = 2
    facts: list[str] = field(default_factory=list)
    prepared: bool = False

    def count(self, path: Path, found: int, official: int) -> None:
        """Compares a number of images with the official one; a part may be on purpose."""
        if found != official:
            kind = 'list-part' if self.prepared else 'list-count'
            self.findings.add(kind, path=path, found=found, official=official)

    def sample(self, items: Sequence[Any]) -> list[Any]:
        """All items, or with ``quick`` some of them, evenly spread."""
        if not self.quick or len(items) <= QUICK:
            return list(items)
        return [items[i] for i in np.linspace(0, len(items) - 1, QUICK).astype(int)]

    def each(
        self, work: Callable[[Any], object], items: Sequence[Any], what: str
    ) -> None:
        """Calls ``work`` on each item in threads, with a progress bar."""
        for _ in track(in_threads(work, items, self.workers), what, len(items)):
            pass


def indexed_folder(folder: Path) -> Path:
    """Folder for converted masks, of the same name, so that training refuses them."""
    return folder.parent / 'indexed' / folder.name


def names_in(folder: Path) -> set[str]:
    """Names of the files in a folder; none where there is no folder."""
    try:
        return {entry.name for entry in folder.iterdir()}
    except OSError:
        return set()


def examine_photos(ward: Ward, paths: Sequence[Path]) -> dict[str, tuple[int, int]]:
    """Decodes photos.

    Returns:
        ``(H, W)`` of those that are whole, by their stems.
    """
    sizes: dict[str, tuple[int, int]] = {}
    chosen = ward.sample(paths)

    def look(path: Path) -> None:
        """Notes a photo that is broken, and what is unusual about it."""
        folder = path.parent
        try:
            with opened_picture(path) as image:
                image.load()
                width, height = image.size
                mode = image.mode
                turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        except DataError:
            ward.findings.add(
                'photo-broken', path.name, folder=folder, total=len(chosen)
            )
            return
        sizes[path.stem] = (width, height) if turned else (height, width)
        if turned:
            ward.findings.add('photo-turned', path.name, folder=folder)
        if mode in ('L', '1', 'I;16', 'LA'):
            ward.findings.add('photo-grey', path.name, folder=folder)
        elif mode in ('CMYK', 'YCCK'):
            ward.findings.add('photo-cmyk', path.name, folder=folder)

    if chosen:
        ward.each(look, chosen, f'photos of {chosen[0].parent.name}')
    return sizes


def examine_masks(
    ward: Ward,
    paths: Sequence[Path],
    sizes: dict[str, tuple[int, int]],
    num_classes: int,
    judge: Callable[[Path, np.ndarray], bool] | None = None,
) -> None:
    """Decodes masks and compares them with their photos.

    Args:
        ward: Of the data set.
        paths: The masks; their stems are those of the photos.
        sizes: ``(H, W)`` of the photos.
        num_classes: Classes with background.
        judge: Called with each mask's file and values; True when it has said all there is
            to say about these.
    """
    chosen = ward.sample(paths)

    def look(path: Path) -> None:
        """Notes a mask that is broken, or whose size or values are wrong."""
        labels = _decode(ward, path, len(chosen))
        if labels is None:
            return
        if path.stem in sizes and labels.shape != sizes[path.stem]:
            photo = sizes[path.stem]
            ward.findings.add(
                'mask-size',
                f'{path.name} is {labels.shape[0]} x {labels.shape[1]}, its photo '
                f'{photo[0]} x {photo[1]} (H x W)',
                folder=path.parent,
            )
        values = np.unique(labels)
        if judge is not None and judge(path, values):
            return
        wrong = values[(values >= num_classes) & (values != IGNORE)]
        if wrong.size:
            example = f'{path.name} has {wrong[0]}'
            ward.findings.add(
                'mask-value', example, folder=path.parent, most=num_classes - 1
            )

    if chosen:
        ward.each(look, chosen, f'masks of {chosen[0].parent.name}')


def _decode(ward: Ward, path: Path, total: int) -> np.ndarray | None:
    """The labels of a mask; colours become labels too. None when there is no more to say."""
    try:
        with opened_picture(path) as image:
            image.load()
            if image.format == 'JPEG':
                ward.findings.add('mask-jpeg', path.name, folder=path.parent)
                return None
            if image.mode in ('P', 'L', '1'):
                return np.array(image, np.uint8)
            if image.mode.startswith('I'):
                return np.array(image)
            colours = np.array(image.convert('RGB'))
    except DataError:
        ward.findings.add('mask-broken', path.name, folder=path.parent, total=total)
        return None
    try:
        labels = labels_of_colours(colours, str(path))
    except DataError:
        ward.findings.add('mask-colours', path.name, folder=path.parent)
        return np.zeros(colours.shape[:2], np.uint8)  # its size can be compared
    out = indexed_folder(path.parent)
    ward.findings.add('mask-coloured', path.name, folder=path.parent, out=out)
    return labels
