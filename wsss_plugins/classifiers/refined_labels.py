"""Label maps of class maps, refined by colours and by affinities, while a model trains.

Sources: Ru et al., "Learning Affinity from Attention" (AFA), CVPR 2022, and "Token Contrast
for Weakly-Supervised Semantic Segmentation" (ToCo), CVPR 2023, and their released codes.
A box is ``[y0, y1, x0, x1]``, half-open: the part of an image that is no padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.affinity import affinity_walk
from wsss_plugins.classifiers.online_labels import (
    Thresholds,
    inside,
    present,
    resized_maps,
)
from wsss_plugins.structures import IGNORE


@runtime_checkable
class Averaging(Protocol):
    """What refines maps by the colours of images: :class:`PAR` or :class:`PAMR`."""

    def kernel(self, images: Tensor) -> Tensor:
        """The weights of each pixel and its neighbours."""

    def average(self, maps: Tensor, kernel: Tensor) -> Tensor:
        """Maps ``(N, L, H, W)`` averaged by a kernel."""


def agreed(high: Tensor, low: Tensor) -> Tensor:
    """:func:`~wsss_plugins.structures.agreed_labels` of tensors ``(N, H, W)``."""
    label = high.masked_fill(high == 0, IGNORE)
    return label.masked_fill((high == 0) & (low == 0), 0)


def refined_labels(
    averaging: Averaging,
    images: Tensor,
    maps: Tensor,
    labels: Tensor,
    boxes: Tensor,
    thresholds: Thresholds,
) -> Tensor:
    """Labels of class maps with a high and a low background, refined by colours.

    Args:
        averaging: Such as ``PAR(as_released=True)``.
        images: ``(N, 3, H, W)`` in [0, 1].
        maps: ``(N, C, H, W)`` in [0, 1].
        labels: ``(N, C)`` in {0, 1}.
        boxes: ``(N, 4)``.
        thresholds: The scores of the backgrounds are ``high`` and ``low``.

    Returns:
        ``(N, H, W)`` int64: 0 background, c + 1 class c, 255 unsure.
    """
    given = (averaging, images, maps, labels, boxes)
    return agreed(*labels_by_colours(*given, (thresholds.high, thresholds.low)))


def labels_by_colours(
    averaging: Averaging,
    images: Tensor,
    maps: Tensor,
    labels: Tensor,
    boxes: Tensor,
    backgrounds: Sequence[float],
) -> Tensor:
    """Labels of class maps under several backgrounds, refined by colours.

    Arguments are those of :func:`refined_labels`, with B scores of the background.

    Returns:
        ``(B, N, H, W)`` int64; 255 outside of the box.
    """
    size = (len(backgrounds), len(images), *images.shape[2:])
    found = torch.full(size, IGNORE, device=images.device)
    for index, keys in enumerate(_keys(labels)):
        box = (..., *_slices(boxes[index]))
        shown = maps[index, keys[1:] - 1]
        shares = refined_shares(averaging, images[index], shown, backgrounds)
        found[:, index][box] = keys[shares.argmax(1)][box]
    return found


def refined_shares(
    averaging: Averaging, image: Tensor, maps: Tensor, backgrounds: Sequence[float]
) -> Tensor:
    """Shares of the background and the classes of an image, averaged at half its size.

    Args:
        averaging: Such as ``PAR(as_released=True)``.
        image: ``(3, H, W)`` in [0, 1].
        maps: ``(K, H, W)`` in [0, 1] of the classes that it shows.
        backgrounds: B scores of the background, each with a softmax of its own.

    Returns:
        ``(B, 1 + K, H, W)``, background first.
    """
    sides = [side // 2 for side in image.shape[1:]]
    half = resized_maps(image[None], sides)
    with_ground = F.pad(maps[None], (0, 0, 0, 0, 1, 0))
    scores = resized_maps(with_ground, sides).repeat(len(backgrounds), 1, 1, 1)
    scores[:, 0] = scores.new_tensor(tuple(backgrounds))[:, None, None]
    shares = _to_size(scores.softmax(1), sides)
    walked = averaging.average(shares, averaging.kernel(half))
    return resized_maps(walked, image.shape[1:])


@dataclass(frozen=True)
class Walk:
    """Affinities that class maps walk along.

    Attributes:
        affinities: ``(N, h w, h w)`` in [0, 1].
        grid: ``(h, w)``.
        window: ``(h w, h w)`` bool, the pairs that count; None for all.
        shift: See :func:`~wsss_plugins.affinity.affinity_walk`.
    """

    affinities: Tensor
    grid: tuple[int, int]
    window: Tensor | None = None
    shift: float | None = None


def walked_labels(
    averaging: Averaging,
    images: Tensor,
    maps: Tensor,
    labels: Tensor,
    boxes: Tensor,
    thresholds: Thresholds,
    walk: Walk,
) -> Tensor:
    """Labels of class maps that walked along affinities, refined by colours (AFA).

    Arguments and result are those of :func:`refined_labels`; ``walk`` has the affinities.
    """
    small = resized_maps(present(maps, labels), walk.grid)
    along = (walk.window, walk.shift)
    walked = [
        affinity_walk(small, walk.affinities, labels, score, *along)
        for score in (thresholds.high, thresholds.low)
    ]
    full = torch.stack([resized_maps(each, images.shape[2:]) for each in walked])
    found = refined_maps(averaging, images, full, labels, boxes).argmax(2)
    return agreed(*found).masked_fill(~inside(boxes, images.shape[2:]), IGNORE)


def refined_maps(
    averaging: Averaging, images: Tensor, maps: Tensor, labels: Tensor, boxes: Tensor
) -> Tensor:
    """Maps with a background, refined by colours inside the box of each image (AFA).

    Args:
        averaging: Such as ``PAR(as_released=True)``.
        images: ``(N, 3, H, W)`` in [0, 1].
        maps: ``(B, N, 1 + C, H, W)``, B stacks of maps, background first.
        labels: ``(N, C)`` in {0, 1}.
        boxes: ``(N, 4)``.

    Returns:
        The same shape; 0 for absent classes and outside of the box.
    """
    found = torch.zeros_like(maps)
    for index, keys in enumerate(_keys(labels)):
        rows, columns = _slices(boxes[index])
        image = images[index : index + 1, :, rows, columns]
        half = resized_maps(image, [side // 2 for side in image.shape[2:]])
        inner = _to_size(maps[:, index, keys][..., rows, columns], half.shape[2:])
        walked = averaging.average(inner, averaging.kernel(half))
        back = resized_maps(walked, image.shape[2:])
        found[:, index][:, keys, rows, columns] = back
    return found


def _keys(labels: Tensor) -> Iterator[Tensor]:
    """Of each image the background and the present classes, as labels."""
    for row in labels:
        yield torch.cat([row.new_zeros(1).long(), row.nonzero()[:, 0] + 1])


def _slices(box: Tensor) -> tuple[slice, slice]:
    top, bottom, left, right = box.tolist()
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _to_size(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps of the size of the image, corners on corners, as the released PAR does."""
    return F.interpolate(maps, size=tuple(size), mode='bilinear', align_corners=True)
