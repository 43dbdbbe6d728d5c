"""Pseudo labels that a single-stage method makes of its own class maps while it trains.

Sources: Ru et al., "Learning Affinity from Attention" (AFA), CVPR 2022, and "Token Contrast
for Weakly-Supervised Semantic Segmentation" (ToCo), CVPR 2023, and their released codes.
A box is ``[y0, y1, x0, x1]``, half-open: the part of an image that is no padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import ConfigError
from wsss_plugins.structures import IGNORE


class Averaging(Protocol):
    """What refines maps by the colours of images: :class:`PAR` or :class:`PAMR`."""

    def kernel(self, images: Tensor) -> Tensor:
        """The weights of each pixel and its neighbours."""

    def average(self, maps: Tensor, kernel: Tensor) -> Tensor:
        """Maps ``(N, L, H, W)`` averaged by a kernel."""


@dataclass(frozen=True)
class Thresholds:
    """Scores of the background with which labels are made of class maps.

    Attributes:
        high: Above it a pixel is an object.
        low: Up to it a pixel is background.
        background: The one that decides without an unsure middle.

    Raises:
        ConfigError: ``0 <= low <= background <= high <= 1`` does not hold.
    """

    high: float
    low: float
    background: float

    def __post_init__(self) -> None:
        """Refuses thresholds that are not in order."""
        if not 0 <= self.low <= self.background <= self.high <= 1:
            raise ConfigError(
                'thresholds need 0 <= low <= background <= high <= 1, not '
                f'{self.low}, {self.background} and {self.high}',
                token='high',
            )


AFA_VOC = Thresholds(high=0.55, low=0.35, background=0.45)
TOCO_VOC = Thresholds(high=0.7, low=0.25, background=0.5)
TOCO_COCO = Thresholds(high=0.65, low=0.25, background=0.45)


def multi_scale_maps(
    maps_of: Callable[[Tensor], Sequence[Tensor]],
    images: Tensor,
    scales: Sequence[float] = (1.0, 0.5, 1.5),
) -> list[Tensor]:
    """Class maps of images and mirror images at several scales, scaled to [0, 1].

    At each scale the larger one of a map and its mirror counts; negative values are cut
    off, and the scales are summed. The scale 1 counts once, whether it is named or not.

    Args:
        maps_of: From images to one or several class maps ``(N, C, h, w)``.
        images: ``(N, 3, H, W)``.
        scales: Factors of the sides.

    Returns:
        ``(N, C, H, W)`` of each of the maps, absent classes included.
    """
    size = images.shape[2:]
    total: list[Tensor] = []
    for scale in [1.0, *(s for s in scales if s != 1.0)]:
        views = images
        if scale != 1.0:
            sides = [int(scale * side) for side in size]
            views = _resized(images, sides)
        found = [
            _larger(_resized(each, size)).relu()
            for each in maps_of(torch.cat([views, views.flip(-1)]))
        ]
        total = [a + b for a, b in zip(total, found, strict=True)] if total else found
    return [_to_unit(each) for each in total]


def _larger(both: Tensor) -> Tensor:
    """Of a map and that of the mirror image the larger one."""
    plain, mirrored = both.chunk(2)
    return torch.maximum(plain, mirrored.flip(-1))


def _to_unit(maps: Tensor) -> Tensor:
    maps = maps - maps.amin((2, 3), keepdim=True)
    return maps / (maps.amax((2, 3), keepdim=True) + 1e-5)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps, size=tuple(size), mode='bilinear', align_corners=False)


def present(maps: Tensor, labels: Tensor) -> Tensor:
    """Maps ``(N, C, h, w)`` with 0 for the classes that ``labels`` ``(N, C)`` lacks."""
    return maps * labels[:, :, None, None]


def labels_of_maps(
    maps: Tensor,
    labels: Tensor,
    thresholds: Thresholds,
    boxes: Tensor | None = None,
    unsure_middle: bool = True,
) -> Tensor:
    """A label map of class maps.

    A trap of ToCo: its labels on the grid of tokens are given boxes in pixels. Boxes are
    used as they are; give boxes of the size of the maps for what was meant.

    Args:
        maps: ``(N, C, h, w)`` in [0, 1].
        labels: ``(N, C)`` in {0, 1}.
        thresholds: What is object and what background.
        boxes: ``(N, 4)``; outside of its box an image is unsure. None for no padding, and
            then the middle is not unsure.
        unsure_middle: Whether scores between the low and the high threshold are unsure.

    Returns:
        ``(N, h, w)`` int64: 0 background, c + 1 class c, 255 unsure.
    """
    strongest, winner = present(maps, labels).max(1)
    winner = winner + 1
    if boxes is None or not unsure_middle:
        winner = winner.masked_fill(strongest <= thresholds.background, 0)
    else:
        winner = winner.masked_fill(strongest <= thresholds.high, IGNORE)
        winner = winner.masked_fill(strongest <= thresholds.low, 0)
    if boxes is None:
        return winner
    return winner.masked_fill(~inside(boxes, maps.shape[2:]), IGNORE)


def inside(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Which pixels are in the box of their image, ``(N, H, W)`` bool."""
    y = torch.arange(size[0], device=boxes.device)[:, None]
    x = torch.arange(size[1], device=boxes.device)
    top, bottom, left, right = boxes.T[..., None, None]
    return (y >= top) & (y < bottom) & (x >= left) & (x < right)


def interest(maps: Tensor, labels: Tensor, thresholds: Thresholds) -> Tensor:
    """Where crops are taken: 0 background, 1 unsure, 2 object.

    Args:
        maps: ``(N, C, h, w)`` in [0, 1].
        labels: ``(N, C)`` in {0, 1}.
        thresholds: Up to ``low`` is background, from ``high`` on an object.

    Returns:
        ``(N, h, w)`` int64.
    """
    strongest = present(maps, labels).amax(1)
    found = torch.ones_like(strongest, dtype=torch.long)
    found[strongest <= thresholds.low] = 0
    found[strongest >= thresholds.high] = 2
    return found


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
    sides = [side // 2 for side in images.shape[2:]]
    half_images, half_maps = _resized(images, sides), _resized(maps, sides)
    found = []
    for score in (thresholds.high, thresholds.low):
        label = torch.full(
            (len(images), *images.shape[2:]), IGNORE, device=images.device
        )
        ground = torch.full_like(half_maps[:, :1], score)
        scores = torch.cat([ground, half_maps], 1)
        for index, keys in enumerate(_keys(labels)):
            shares = scores[index : index + 1, keys].softmax(1)
            kernel = averaging.kernel(half_images[index : index + 1])
            walked = averaging.average(_to_size(shares, sides), kernel)
            winner = _resized(walked, images.shape[2:])[0].argmax(0)
            box = _slices(boxes[index])
            label[index][box] = keys[winner][box]
        found.append(label)
    return agreed(*found)


def refined_maps(
    averaging: Averaging, images: Tensor, maps: Tensor, labels: Tensor, boxes: Tensor
) -> Tensor:
    """Maps with a background, refined by colours inside the box of each image (AFA).

    Args:
        averaging: Such as ``PAR(as_released=True)``.
        images: ``(N, 3, H, W)`` in [0, 1].
        maps: ``(N, 1 + C, H, W)``, background first.
        labels: ``(N, C)`` in {0, 1}.
        boxes: ``(N, 4)``.

    Returns:
        ``(N, 1 + C, H, W)``; 0 for absent classes and outside of the box.
    """
    found = torch.zeros_like(maps)
    for index, keys in enumerate(_keys(labels)):
        box = (..., *_slices(boxes[index]))
        image, inner = (
            images[index : index + 1][box],
            maps[index : index + 1, keys][box],
        )
        half = _resized(image, [side // 2 for side in image.shape[2:]])
        walked = averaging.average(
            _to_size(inner, half.shape[2:]), averaging.kernel(half)
        )
        back = _resized(walked, image.shape[2:])[0]
        for key, each in zip(keys.tolist(), back, strict=True):
            found[index, key][_slices(boxes[index])] = each
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


def local_crops(
    images: Tensor,
    region: Tensor,
    size: int,
    count: int,
    orders: Sequence[Tensor] | None = None,
    least: float = 0.2,
) -> tuple[Tensor, Tensor]:
    """Square crops around pixels that are not surely an object, and what they show.

    Candidates are the pixels at least half a crop from the border that are no object; where
    they are fewer than ``count``, all pixels so far from the border.

    Args:
        images: ``(N, 3, H, W)``.
        region: ``(N, H, W)``, of :func:`interest`.
        size: Side of a crop, even, smaller than the image.
        count: Number of crops of each image.
        orders: A permutation of the candidates of each image; drawn at random by default.
        least: Share of a crop, objects counted twice, up to which it is background.

    Returns:
        ``(count, N, 3, size, size)``, and ``(N, 2 + count)`` of {0, 1}: whether each crop
        shows an object; the first two are of the two whole views, which do.
    """
    half = size // 2
    crops = images.new_zeros(count, len(images), images.shape[1], size, size)
    flags = torch.ones(len(images), 2 + count, device=images.device)
    for index, each in enumerate(region):
        inner = each[half : each.shape[0] - half, half : each.shape[1] - half]
        places = (inner <= 1).nonzero()
        if len(places) < count:
            places = torch.ones_like(inner).nonzero()
        order = torch.randperm(len(places)) if orders is None else orders[index]
        for number, (top, left) in enumerate(places[order[:count]].tolist()):
            window = (..., slice(top, top + size), slice(left, left + size))
            crops[number, index] = images[index][window]
            flags[index, 2 + number] = float(each[window].sum() / size**2 > least)
    return crops, flags
