"""Label maps as indexed PNG with the palette of Pascal VOC."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsss_plugins.errors import DataError
from wsss_plugins.structures.files import atomic_path

IGNORE = 255
"""The label of pixels that all metrics and losses ignore."""


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

    Args:
        path: The PNG.
        num_classes: When given, every value must be below it (background
            counted) or 255.

    Returns:
        ``(H, W)`` uint8.

    Raises:
        DataError: The file is missing, not an image, colour-coded, or has a value
            outside the classes.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ('P', 'L', '1'):
                raise DataError(
                    f'{path} is a colour picture (mode {image.mode}), not an indexed label map: '
                    'use the palette PNGs of the data set'
                )
            label_map = np.array(image, dtype=np.uint8)
    except FileNotFoundError as error:
        raise DataError(f'mask {path} does not exist') from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(
            f'mask {path} cannot be decoded ({error}): replace the file'
        ) from error
    if num_classes is not None:
        wrong = np.unique(label_map[(label_map >= num_classes) & (label_map != IGNORE)])
        if wrong.size:
            raise DataError(
                f'mask {path} has the value {wrong[0]}: allowed are 0 to '
                f'{num_classes - 1} and {IGNORE} (ignored)'
            )
    return label_map
