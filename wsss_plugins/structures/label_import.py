"""Reads label maps in the formats of other projects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wsss_plugins.errors import DataError
from wsss_plugins.structures.decoding import opened_picture
from wsss_plugins.structures.label_map import IGNORE, voc_palette
from wsss_plugins.structures.pickles import load_pickled_npy


def read_label_map(
    path: Path | str, values: Mapping[int, int] | None = None
) -> np.ndarray:
    """Reads a label map of another project.

    Args:
        path: An indexed or grey image, a colour image in the colours of Pascal VOC, or a
            ``.npy`` of integers ``(H, W)``.
        values: The label of this package for each label of the other project; other
            labels are not changed.

    Returns:
        ``(H, W)`` uint8: 0 background, c + 1 class c, 255 ignored.

    Raises:
        DataError: The file is missing, cannot be decoded, has a colour outside VOC's
            palette, or a label outside 0..255; the message names the file.
    """
    path = Path(path)
    labels = _integers(path) if path.suffix == '.npy' else _indices(path)
    found = np.unique(labels)
    renamed = np.array([(values or {}).get(int(v), int(v)) for v in found], np.int64)
    outside = renamed[(renamed < 0) | (renamed > IGNORE)]
    if outside.size:
        raise DataError(f'{path} has the label {outside[0]}: allowed are 0 to {IGNORE}')
    places = np.searchsorted(found, labels)
    return renamed.astype(np.uint8)[places].reshape(labels.shape)


def _integers(path: Path) -> np.ndarray:
    labels = load_pickled_npy(path)
    if (
        not isinstance(labels, np.ndarray)
        or labels.ndim != 2
        or labels.dtype.kind not in 'iub'
    ):
        raise DataError(
            f'{path} is no label map, an array (H, W) of integers: give another file'
        )
    return labels.astype(np.int64)


def _indices(path: Path) -> np.ndarray:
    """The values of an image file."""
    with opened_picture(path, 'label map') as image:
        if image.mode in ('P', 'L', '1', 'I', 'I;16', 'I;16B'):
            return np.array(image).astype(np.int64)
        colours = np.array(image.convert('RGB')).astype(np.int64)
    return _by_colour(colours, path)


def _by_colour(colours: np.ndarray, path: Path) -> np.ndarray:
    """The label of each pixel ``(H, W, 3)`` in VOC's colours."""
    places = np.array([1 << 16, 1 << 8, 1])
    known = voc_palette().astype(np.int64) @ places
    order = known.argsort()
    codes = colours @ places
    found = order[np.searchsorted(known, codes, sorter=order).clip(max=IGNORE)]
    strange = np.argwhere(known[found] != codes)
    if len(strange):
        row, column = strange[0]
        raise DataError(
            f'label map {path} has the colour {tuple(colours[row, column].tolist())}, which '
            'is none of Pascal VOC: save it as an indexed or grey PNG'
        )
    return found
