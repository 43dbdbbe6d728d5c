"""Label maps as indexed PNG with the palette of Pascal VOC."""

from __future__ import annotations

import shlex
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_plugins.errors import DataError
from wsss_plugins.structures.decoding import opened_picture
from wsss_plugins.structures.files import atomic_path

IGNORE = 255
"""The label of pixels that all metrics and losses ignore."""


def agreed_labels(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Labels that a high and a low background agree on.

    Source: Ahn, Cho and Kwak (IRN), CVPR 2019, section 4.1; Ru et al. (AFA), CVPR 2022,
    and (ToCo), CVPR 2023, take the same law.

    Args:
        high: ``(H, W)`` uint8 labels under the high background: few objects.
        low: ``(H, W)`` uint8 labels under the low background: many objects.

    Returns:
        ``(H, W)`` uint8: the label under the high background where that is an object, 0
        where both are background, and 255 elsewhere.
    """
    label = np.where(high == 0, IGNORE, high).astype(np.uint8)
    label[(high == 0) & (low == 0)] = 0
    return label


@lru_cache(1)
def voc_palette() -> np.ndarray:
    """The 256 colours of Pascal VOC: the bits of the index, spread over red, green and blue.

    Returns:
        ``(256, 3)`` uint8.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (
                ((index >> (3 * bit + channel)) & 1) << (7 - bit)
            ).astype(np.uint8)
    return palette


def save_label_map(path: Path | str, label_map: np.ndarray) -> None:
    """Writes a label map ``(H, W)`` uint8 as a palette PNG, whole or not at all."""
    image = Image.fromarray(
        np.ascontiguousarray(label_map, dtype=np.uint8), mode=None
    ).convert('L')
    image.putpalette(voc_palette().ravel().tolist())
    with atomic_path(path) as part:
        image.save(part, format='PNG')


def load_label_map(path: Path | str, num_classes: int | None = None) -> np.ndarray:
    """Reads an indexed or grey PNG as a label map.

    A grey PNG may have 16 bits for a value, as long as all its values are labels.

    Args:
        path: The PNG.
        num_classes: When given, every value must be below it (background
            counted) or 255.

    Returns:
        ``(H, W)`` uint8.

    Raises:
        DataError: The file is missing, not an image, colour-coded, or has a value
            outside the classes or above 255.
    """
    with opened_picture(path, 'mask') as image:
        if image.mode in ('P', 'L', '1'):
            label_map = np.array(image, dtype=np.uint8)
        elif image.mode.startswith('I'):
            label_map = _narrow(np.array(image), path)
        else:
            raise _colours(path, image.mode)
    if num_classes is not None:
        wrong = np.unique(label_map[(label_map >= num_classes) & (label_map != IGNORE)])
        if wrong.size:
            raise DataError(
                f'mask {path} has the value {wrong[0]}: allowed are 0 to '
                f'{num_classes - 1} and {IGNORE} (ignored)'
            )
    return label_map


def _narrow(values: np.ndarray, path: Path | str) -> np.ndarray:
    """A label map of 16 bits as uint8.

    Raises:
        DataError: A value is no label.
    """
    wrong = np.unique(values[(values < 0) | (values > IGNORE)])
    if wrong.size:
        raise DataError(
            f'mask {path} has the value {wrong[0]}: a label map has the numbers of the '
            f'classes, 0 (background) to {IGNORE - 1}, and {IGNORE} where pixels are not '
            'counted; write these values instead'
        )
    return values.astype(np.uint8)


def _colours(path: Path | str, mode: str) -> DataError:
    """The error for a mask in colours."""
    folder = Path(path).parent
    converted = folder.parent / 'indexed' / folder.name
    return DataError(
        f'{path} is a colour picture (mode {mode}), and a label map has the number of the '
        "class in each pixel: if the colours are those of Pascal VOC's palette, python "
        f'wsss prepare convert-masks {shlex.quote(str(folder))} --kind colours '
        f'--out {shlex.quote(str(converted))} converts the folder; else write the numbers'
    )
