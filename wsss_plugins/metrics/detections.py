"""Converts the map of a class to detections of objects."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike

from wsss_plugins.errors import ConfigError
from wsss_plugins.metrics.coco_ap import MOST_DETECTIONS

OTSU = 'otsu'
INSTANCES = ('components', 'class')


def check_detections(threshold: float | str, instances: str) -> None:
    """Refuses arguments of :func:`detections_of_map` that are out of range.

    Raises:
        ConfigError: ``threshold`` is out of range, or ``instances`` is unknown.
    """
    number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if threshold != OTSU and not (number and 0 <= float(threshold) < 1):
        raise ConfigError(
            f"threshold must be '{OTSU}' or a number in [0, 1), not {threshold!r}",
            token='threshold',
        )
    if instances not in INSTANCES:
        raise ConfigError(
            f'instances must be one of {INSTANCES}, not {instances!r}',
            token='instances',
        )


def detections_of_map(
    scores: ArrayLike,
    threshold: float | str = OTSU,
    instances: str = 'components',
    most: int = MOST_DETECTIONS,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Cuts the objects of one class out of its map.

    A map gives the location of a class but neither the number of objects nor a
    confidence. So each connected component above the threshold (8-connected) counts as
    one object, with the mean of the map inside as its confidence.

    Sources: Otsu's threshold as Chefer et al., Generic Attention-model Explainability,
    2021, section 4, take it for their masks of COCO. Their detector provides objects
    and confidences; a classifier does not.

    Args:
        scores: ``(H, W)`` in [0, 1].
        threshold: ``'otsu'``, Otsu's threshold of this map in steps of 1/255, or a
            number in [0, 1). Pixels above the threshold belong to an object.
        instances: ``'components'`` for connected components, or ``'class'`` for all
            pixels as one object.
        most: Maximum number of objects, those of the highest score.

    Returns:
        Masks ``(H, W)`` bool, in decreasing order of confidence, and ``(n,)`` the mean
        of the map in each; empty where no pixel exceeds the threshold.

    Raises:
        ConfigError: ``threshold`` is out of range, or ``instances`` is unknown.
    """
    check_detections(threshold, instances)
    scores = np.asarray(scores, np.float32)
    above = _above(scores, threshold)
    parts = above.astype(np.int32)
    if instances == 'components':
        found = cv2.connectedComponents(above.astype(np.uint8), connectivity=8)
        parts = np.asarray(found[1])
    pixels = np.bincount(parts.ravel())[1:]
    inside = np.bincount(parts.ravel(), scores.ravel())[1:]
    means = inside / pixels.clip(1)
    best = np.argsort(-means, kind='stable')[:most]
    return [parts == 1 + i for i in best], means[best]


def _above(scores: np.ndarray, threshold: float | str) -> np.ndarray:
    """Where the threshold is exceeded, ``(H, W)`` bool; nowhere in a flat map by Otsu."""
    if threshold != OTSU:
        return scores > np.float32(threshold)
    steps = np.rint(255 * scores.clip(0, 1)).astype(np.uint8)
    if steps.size == 0 or steps.min() == steps.max():
        return np.zeros(scores.shape, bool)
    chosen, _ = cv2.threshold(steps, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return steps > chosen
