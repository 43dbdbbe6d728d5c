"""Converts folders of masks in other known formats into label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from wsss_plugins.datasets.preparation.pictures import (
    decode_mask,
    labels_of_category_ids,
)
from wsss_plugins.datasets.preparation.sources import is_content
from wsss_plugins.datasets.preparation.tree import in_threads
from wsss_plugins.errors import DataError
from wsss_plugins.progress import track
from wsss_plugins.structures import save_label_map

Kind = Literal['colours', 'category-ids']


def convert_masks(
    folder: Path | str, out: Path | str, kind: Kind, workers: int = 2
) -> int:
    """Writes the masks of ``folder`` as label maps with the same names.

    Args:
        folder: PNG files.
        out: Another folder; files that are there already are kept.
        kind: 'colours': VOC's colours instead of indices; 'category-ids': COCO's ids 1 to
            90 instead of classes 1 to 80.
        workers: Threads.

    Returns:
        How many masks there are.

    Raises:
        DataError: ``folder`` has no PNG files, a mask is not of ``kind``, or ``out`` is
            ``folder``.
    """
    source, target = Path(folder), Path(out)
    paths = sorted(p for p in source.glob('*.png') if is_content(p.name))
    if not paths:
        raise DataError(f'{source} has no PNG files: give the folder of the masks')
    if source.resolve() == target.resolve():
        raise DataError(f'--out {target} is the folder of the masks: choose another')

    def convert(path: Path) -> None:
        """Writes one mask as a label map, unless it is there."""
        if not (target / path.name).is_file():
            save_label_map(target / path.name, _labels(path, kind))

    for _ in track(in_threads(convert, paths, workers), 'masks', len(paths)):
        pass
    return len(paths)


def _labels(path: Path, kind: Kind) -> np.ndarray:
    mask = decode_mask(path.read_bytes(), str(path))
    if kind == 'colours':
        return mask.labels
    if mask.coloured:
        raise DataError(f'{path} shows colours, not ids: give --kind colours')
    return labels_of_category_ids(mask.labels, str(path))
