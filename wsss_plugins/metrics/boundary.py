"""Boundary IoU of label maps."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike

from wsss_plugins.errors import ConfigError
from wsss_plugins.metrics.confusion import ClassCounts, confusion_matrix
from wsss_plugins.structures import IGNORE

DILATION_RATIO = 0.02
"""Width of a boundary as a share of the diagonal, as Cheng et al. (2021) choose it."""


def boundary_band(label_map: np.ndarray, width: int, border: bool = True) -> np.ndarray:
    """The pixels that lie within ``width`` pixels of another label, or of the border.

    Distances are those of a square window. For each class the band is the mask minus
    its erosion by a 3x3 square, ``width`` times, with zeros outside the image.

    Args:
        label_map: ``(H, W)`` uint8, 254 not used.
        width: Pixels, >= 1.
        border: Whether the border of the image is a boundary; without it the labels at
            the border go on beyond it.

    Returns:
        ``(H, W)`` bool.
    """
    beyond = dict(constant_values=254) if border else dict(mode='edge')
    padded = np.pad(label_map, width, **beyond)
    window = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    several = np.asarray(cv2.erode(padded, window) != cv2.dilate(padded, window))
    return several[width:-width, width:-width]


def boundary_counts(
    prediction: ArrayLike,
    target: ArrayLike,
    num_classes: int,
    dilation_ratio: float = DILATION_RATIO,
) -> ClassCounts:
    """Pixels of each class near its own outline; counts of several images can be added.

    Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation
    Evaluation", CVPR 2021, eq. 4, with label maps for masks and the pixels of a data
    set pooled. Ignored pixels are ignored in both maps, so that an outline along them is
    the same in both.

    Args:
        prediction: Label map ``(H, W)`` of integers.
        target: Ground truth ``(H, W)``, 255 where it is not known.
        num_classes: L, background counted, <= 254.
        dilation_ratio: Width of the boundary as a share of the diagonal; at least one
            pixel.

    Returns:
        TP, P and T near the outlines, ``(L,)`` int64 each; TP / union is the IoU.

    Raises:
        DataError: The sizes differ, or a label is neither 255 nor below ``num_classes``.
        ConfigError: ``dilation_ratio`` is not positive, or there are more than 254
            classes.
    """
    if not dilation_ratio > 0 or not num_classes <= 254:
        raise ConfigError(
            'a boundary needs dilation_ratio > 0 and at most 254 classes, not '
            f'{dilation_ratio} and {num_classes}'
        )
    prediction, target = np.asarray(prediction), np.asarray(target)
    confusion_matrix(prediction, target, num_classes)  # refuses what does not fit
    width = max(1, round(dilation_ratio * float(np.hypot(*target.shape))))
    truth = target.astype(np.uint8)
    found = np.where(truth == IGNORE, IGNORE, prediction).astype(np.uint8)
    near_found, near_truth = boundary_band(found, width), boundary_band(truth, width)

    def count(chosen: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Chosen pixels of each class, ``(num_classes,)``."""
        return np.bincount(labels[chosen], minlength=IGNORE + 1)[:num_classes]

    both = near_found & near_truth & (found == truth)
    return ClassCounts(
        count(both, truth), count(near_found, found), count(near_truth, truth)
    )
