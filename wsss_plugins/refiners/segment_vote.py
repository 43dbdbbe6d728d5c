"""Votes of class-agnostic segments on label maps, and superpixels to vote with.

Sources: Chen, Mai, Li and Chao, "Segment Anything Model (SAM) Enhanced Pseudo Labels for Weakly
Supervised Semantic Segmentation" (SEPL), 2023; the rules are those of its released code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.refiners.base import Refiner
from wsss_plugins.registry import REFINERS
from wsss_plugins.structures import IGNORE, Seed
from wsss_plugins.structures.segments import masks_of

RULES = ('max_iou', 'max_iou_imp', 'max_iou_imp2', 'overlap')
"""Names of the rules; all but the last are those of SEPL's code."""

MOST_OF_A_CLASS = 0.85
"""Share of the pixels of a class from which on a segment is taken by 'max_iou_imp2'."""


def check_rule(rule: str) -> None:
    """Refuses an unknown rule.

    Raises:
        ConfigError: ``rule`` is none of :data:`RULES`.
    """
    if rule not in RULES:
        raise ConfigError(
            f"unknown rule '{rule}' of a segment vote: {near_names(rule, RULES)}",
            token=rule,
        )


def segment_vote(
    label: np.ndarray, segments: np.ndarray, rule: str = 'max_iou_imp2'
) -> np.ndarray:
    """The label map that segments make of a label map.

    By SEPL's rules each class in turn, the lowest first, takes segments that no class has
    taken, and writes itself over them; the rest is background, also where the label was
    unsure. With 'max_iou' a class takes the segments of which it has more than half.
    'max_iou_imp' keeps the pixels of the class, too, that no free segment covers.
    'max_iou_imp2', SEPL's default, also takes segments that hold 85 % of the class.

    With 'overlap' each segment gets the label, background among them, that most of its
    pixels have which are not unsure; of equal ones the lowest. Where segments overlap, the
    smaller one decides. Pixels in no such segment keep their label.

    Args:
        label: ``(H, W)`` uint8: 0 background, 1.. classes, 255 unsure.
        segments: ``(n, H, W)`` bool, which may overlap.
        rule: One of :data:`RULES`.

    Returns:
        ``(H, W)`` uint8.

    Raises:
        ConfigError: The rule is unknown.
    """
    check_rule(rule)
    flat, areas = label.ravel(), segments.reshape(len(segments), label.size)
    found = _by_overlap(flat, areas) if rule == 'overlap' else _sepl(flat, areas, rule)
    return found.reshape(label.shape)


def _by_overlap(label: np.ndarray, areas: np.ndarray) -> np.ndarray:
    found = label.copy()
    order = np.argsort(-areas.sum(1), kind='stable')  # the smallest comes last
    for area in areas[order]:
        counts = np.bincount(label[area], minlength=256)
        counts[IGNORE] = 0
        if counts.any():
            found[area] = counts.argmax()
    return found


def _sepl(label: np.ndarray, areas: np.ndarray, rule: str) -> np.ndarray:
    found = np.zeros_like(label)
    sizes, free = areas.sum(1), np.ones(len(areas), bool)
    for value in np.unique(label):
        if value in (0, IGNORE):
            continue
        pixels = label == value
        shared = areas[:, pixels].sum(1)
        taken = 2 * shared > sizes
        if rule == 'max_iou_imp2':
            taken |= shared / pixels.sum() >= MOST_OF_A_CLASS
        taken &= free
        if rule != 'max_iou':
            found[pixels & ~areas[free].any(0)] = value
        found[areas[taken].any(0)] = value
        free &= ~taken
    return found


def superpixels(
    image: np.ndarray, method: str, arguments: Mapping[str, Any] | None = None
) -> np.ndarray:
    """Segments of an image by scikit-image, which do not overlap and cover the image.

    Sources: Felzenszwalb and Huttenlocher, IJCV 2004; Achanta et al. (SLIC), PAMI 2012.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        method: ``'felzenszwalb'`` or ``'slic'``.
        arguments: Of the function of that name in ``skimage.segmentation``.

    Returns:
        ``(n, H, W)`` bool.

    Raises:
        ConfigError: scikit-image is not installed, the method is unknown, or it refuses
            the arguments.
    """
    segment = _method(method)
    try:
        numbers = segment(image, **dict(arguments or {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f'{method} of scikit-image refuses {dict(arguments or {})} ({error}): give '
            f'arguments of skimage.segmentation.{method}',
            token=method,
        ) from error
    return masks_of(numbers - numbers.min() + 1)


def _method(name: str) -> Callable[..., np.ndarray]:
    """The function of scikit-image."""
    if name not in METHODS:
        raise ConfigError(
            f"unknown superpixels '{name}': {near_names(name, METHODS)}", token=name
        )
    try:
        from skimage import segmentation  # optional, and slow to import
    except ImportError as error:
        raise ConfigError(
            f"superpixels by '{name}' need scikit-image, which is not installed: pip "
            'install scikit-image, or give segments of your own',
            token=name,
        ) from error
    return getattr(segmentation, name)


METHODS = ('felzenszwalb', 'slic')
"""Names of the superpixels."""


@REFINERS.register_module()
class SuperpixelVote(Refiner):
    """Gives every superpixel of the photo the class that wins in it.

    The label map of the seed is voted on, see :func:`segment_vote`, and becomes the new
    scores: 1 for the winner and 0 for the others. Put it behind a background policy.

    Args:
        method: ``'felzenszwalb'`` or ``'slic'``, of scikit-image.
        rule: See :func:`segment_vote`.
        arguments: Of the method, such as ``dict(scale=100)`` or ``dict(n_segments=200)``.

    Raises:
        ConfigError: The method or the rule is unknown.
    """

    def __init__(
        self,
        method: str = 'felzenszwalb',
        rule: str = 'overlap',
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        check_rule(rule)
        if method not in METHODS:
            _method(method)  # says so
        self.method, self.rule = method, rule
        self.arguments = dict(arguments or {})

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Returns the seed with the voted label as scores and background.

        Raises:
            DataError: The seed has no background.
            ConfigError: scikit-image is not installed, or refuses the arguments.
        """
        pixels = image.permute(1, 2, 0).cpu().numpy()
        label = seed.to_label().cpu().numpy()
        segments = superpixels(pixels, self.method, self.arguments)
        voted = torch.from_numpy(segment_vote(label, segments, self.rule))
        values = torch.cat([seed.classes.new_zeros(1), seed.classes + 1])
        shares = (voted.to(values.device) == values[:, None, None]).to(seed.scores)
        return replace(seed, background=shares[0], scores=shares[1:])
