"""From a field of displacements to the objects that its pixels belong to.

Source: Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with
Inter-pixel Relations" (IRN), CVPR 2019, section 4.2, and its released code.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def find_centroids(displacement: np.ndarray, steps: int = 300) -> np.ndarray:
    """Follows the displacements from every pixel to the centre of its object.

    In each step the bilinear sample of the displacement at the current place is added to
    the place, which stays on the map.

    Args:
        displacement: ``(2, h, w)`` floats: rows and columns to the centre, in cells.
        steps: Number of steps.

    Returns:
        ``(2, h, w)`` int64: row and column of the place that each pixel reaches, rounded
        (halves to the even number).
    """
    limits = np.array(displacement.shape[1:], np.float32)[:, None, None] - 1
    place = np.indices(displacement.shape[1:]).astype(np.float32)
    for _ in range(steps):
        step = _sampled(displacement, place)
        place = np.clip(place + step, 0, limits).astype(np.float32)
    return np.rint(place).astype(np.int64)


def _sampled(maps: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Bilinear samples ``(2, h, w)`` float64 of maps ``(2, h, w)`` at rows and columns."""
    low, high = np.floor(place).astype(np.int64), np.ceil(place).astype(np.int64)
    y, x = place.astype(np.float64) - low
    upper = maps[:, low[0], low[1]] * (1 - x) + maps[:, low[0], high[1]] * x
    lower = maps[:, high[0], low[1]] * (1 - x) + maps[:, high[0], high[1]] * x
    return upper * (1 - y) + lower * y


def cluster_centroids(
    centroids: np.ndarray, displacement: np.ndarray, threshold: float = 2.5
) -> np.ndarray:
    """Groups the pixels whose centres lie in one region of small displacements.

    Args:
        centroids: ``(2, h, w)`` integers, of :func:`find_centroids`.
        displacement: ``(2, h, w)`` floats.
        threshold: Length in cells; a displacement below it (strictly) is small.

    Returns:
        ``(n, h, w)`` bool: the pixels of each group. A group is one 4-connected region of
        small displacements, in raster order. Pixels whose centre lies in none of them are
        a group of their own, which then is the first.
    """
    small = np.hypot(*displacement.astype(np.float64)) < threshold
    regions, _ = ndimage.label(small)
    of_pixel = regions[centroids[0], centroids[1]]
    found = np.unique(of_pixel)
    return of_pixel == found[:, None, None]
