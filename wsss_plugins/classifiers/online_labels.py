"""Pseudo labels that a single-stage method makes of its own class maps while it trains.

Sources: Ru et al., "Learning Affinity from Attention" (AFA), CVPR 2022, and "Token Contrast
for Weakly-Supervised Semantic Segmentation" (ToCo), CVPR 2023, and their released codes.
A box is ``[y0, y1, x0, x1]``, half-open: the part of an image that is no padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import ConfigError
from wsss_plugins.structures import IGNORE


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


def mirrored(images: Tensor) -> Tensor:
    """Images or maps ``(N, C, H, W)``, left and right exchanged."""
    return images.flip(-1)


def multi_scale_maps(
    maps_of: Callable[[Tensor], Sequence[Tensor]],
    images: Tensor,
    scales: Sequence[float] = (1.0, 0.5, 1.5),
    size: Sequence[int] | None = None,
    multiple: int = 1,
    flip: Callable[[Tensor], Tensor] = mirrored,
) -> list[Tensor]:
    """Class maps of images and mirror images at several scales, scaled to [0, 1].

    At each scale the larger one of a map and its mirror counts; negative values are cut
    off, and the scales are summed. The scale 1 counts once, whether it is named or not.

    Args:
        maps_of: From images to one or several class maps ``(N, C, h, w)``; the second half
            of its images are the mirror images of the first.
        images: ``(N, 3, H, W)``.
        scales: Factors of the sides.
        size: ``(H, W)`` of the maps; by default that of the images.
        multiple: What the sides of a scaled image are rounded to, in pixels.
        flip: Mirrors images.

    Returns:
        ``(N, C, H, W)`` of each of the maps, absent classes included.
    """
    size = images.shape[2:] if size is None else size
    total: list[Tensor] = []
    for scale in [1.0, *(s for s in scales if s != 1.0)]:
        views = images
        if scale != 1.0:
            sides = [int(scale * side) for side in images.shape[2:]]
            sides = [max(1, round(s / multiple)) * multiple for s in sides]
            views = resized_maps(images, sides)
        found = [
            _larger(resized_maps(each, size)).relu()
            for each in maps_of(torch.cat([views, flip(views)]))
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


def resized_maps(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps ``(N, C, h, w)`` of another size, bilinear."""
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


def boxes_on(boxes: Tensor, size: Sequence[int], grid: Sequence[int]) -> Tensor:
    """Boxes in pixels of images as boxes in cells of a grid; cells that they touch count.

    Args:
        boxes: ``(N, 4)`` integers.
        size: ``(H, W)`` of the images.
        grid: ``(h, w)``.
    """
    low, high = boxes[:, 0::2], boxes[:, 1::2]  # (N, 2): rows, columns
    side, cells = (boxes.new_tensor(tuple(each)) for each in (size, grid))
    first = low * cells // side
    last = -(-high * cells // side)
    return torch.stack([first, last], 2).flatten(1)


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


def local_crops(
    images: Tensor,
    region: Tensor,
    size: int,
    count: int,
    orders: Sequence[Tensor] | None = None,
    least: float = 0.2,
    draws: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Square crops around pixels that are not surely an object, and what they show.

    Candidates are the pixels at least half a crop from the border that are no object; where
    they are fewer than ``count``, all pixels so far from the border.

    Args:
        images: ``(N, 3, H, W)``.
        region: ``(N, H, W)``, of :func:`interest`.
        size: Side of a crop, smaller than the image.
        count: Number of crops of each image.
        orders: A permutation of the candidates of each image; drawn at random by default.
        least: Share of a crop, objects counted twice, up to which it is background.
        draws: A number of each image that its permutation follows from; None to draw with
            the generator of the process.

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
        if orders is not None:
            order = orders[index]
        else:
            own = None if draws is None else torch.Generator().manual_seed(draws[index])
            order = torch.randperm(len(places), generator=own)
        for number, (top, left) in enumerate(places[order[:count]].tolist()):
            window = (..., slice(top, top + size), slice(left, left + size))
            crops[number, index] = images[index][window]
            flags[index, 2 + number] = float(each[window].sum() / size**2 > least)
    return crops, flags
