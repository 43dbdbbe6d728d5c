"""Objects of label maps: connected regions of one class."""

from __future__ import annotations

import cv2
import numpy as np

from wsss_plugins.structures import IGNORE

SIZES = {'small': 32**2, 'medium': 96**2}
"""Size of an object and the pixels from which on it is larger, as COCO divides them; all
others are ``large``."""


def class_regions(
    label_map: np.ndarray, other: np.ndarray, counted: np.ndarray, least: int = 1
) -> np.ndarray:
    """Finds the connected regions of every foreground class, and how far two maps agree.

    Pixels touch at their sides and corners. A region may go on through pixels that are not
    counted, so that an ignored outline does not cut it into two.

    Args:
        label_map: ``(H, W)`` uint8, whose regions are found; 0 is the background, and 255
            belongs to no region.
        other: ``(H, W)``, the label map to compare with.
        counted: ``(H, W)`` bool, False for pixels that are not counted.
        least: Counted pixels of the smallest region; smaller ones are left out.

    Returns:
        ``(N, 3)`` int64, a row for each region: its label, its counted pixels, and how many
        of these have the same label in ``other``.
    """
    found = [np.zeros((0, 3), np.int64)]
    for label in np.unique(label_map):
        if label in (0, IGNORE):
            continue
        inside = label_map == label
        number, region = cv2.connectedComponents(inside.astype(np.uint8))
        chosen = inside & counted
        pixels = np.bincount(region[chosen], minlength=number)[1:]
        same = np.bincount(region[chosen & (other == label)], minlength=number)[1:]
        rows = np.stack([np.full(number - 1, label), pixels, same], 1)
        found.append(rows[pixels >= least])
    return np.concatenate(found).astype(np.int64)


def sizes_of(pixels: np.ndarray) -> np.ndarray:
    """The size of each region, as an index into :func:`size_names`.

    Args:
        pixels: ``(N,)`` numbers of pixels.

    Returns:
        ``(N,)`` int64: 0 is small, 1 is medium, 2 is large.
    """
    return np.searchsorted(list(SIZES.values()), pixels, side='right')


def size_names() -> list[str]:
    """``['small', 'medium', 'large']``."""
    return [*SIZES, 'large']
