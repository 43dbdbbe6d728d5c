"""From class maps and groups of pixels to single objects.

Source: Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with
Inter-pixel Relations" (IRN), CVPR 2019, section 4.2, and its released code.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from torch import Tensor


def instance_maps(maps: Tensor, groups: Tensor) -> Tensor:
    """The part of each class map in each group of pixels.

    Args:
        maps: ``(K, h, w)`` floats, a map for each class.
        groups: ``(n, h, w)`` bool, of :func:`~wsss_plugins.affinity.cluster_centroids`.

    Returns:
        ``(K n, h, w)`` floats, the n groups of the first class first.
    """
    return (maps[:, None] * groups.to(maps)).flatten(0, 1)


def fragments(
    scores: np.ndarray, masks: np.ndarray, fewest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts the mask of each map into its 4-connected parts, each of which is one object.

    Args:
        scores: ``(m, H, W)`` floats, a map for each mask.
        masks: ``(m, H, W)`` bool.
        fewest: Number of pixels. A part with fewer is kept, with score 0.

    Returns:
        The parts ``(n, H, W)`` bool, the index ``(n,)`` of the map of each part, and
        ``(n,)`` the maximum of that map in the part.
    """
    parts, owners, best = [], [], []
    for index, (values, mask) in enumerate(zip(scores, masks, strict=True)):
        labelled, count = ndimage.label(mask)
        for number in range(1, count + 1):
            part = labelled == number
            parts.append(part)
            owners.append(index)
            best.append(0.0 if part.sum() < fewest else values[part].max())
    shape = (len(parts), *masks.shape[1:])
    return (
        np.array(parts, bool).reshape(shape),
        np.array(owners, np.int64),
        np.array(best, scores.dtype),
    )
