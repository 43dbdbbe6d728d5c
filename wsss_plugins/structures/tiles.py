"""Processes large images in overlapping tiles or at a smaller size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import ConfigError

Finish = Callable[[Tensor], Tensor]
"""A function of finished rows ``(K, rows, W)``, such as an argmax ``(rows, W)``."""


def tiled(
    function: Callable[[Tensor], Tensor],
    image: Tensor,
    tile: int,
    overlap: int,
    batch_size: int = 1,
    finish: Finish | None = None,
) -> Tensor:
    """Computes maps of a large image in overlapping tiles, which are blended.

    The weight of a tile falls linearly to its borders inside the image; weights sum to 1
    at every pixel. For an image that fits into one tile the result is that of
    ``function``. At any time one row of tiles is in memory, in addition to the image
    and the result.

    Args:
        function: From crops ``(N, C, h, w)`` of one size to maps ``(N, K, h, w)``.
        image: ``(C, H, W)``.
        tile: Longest side of a tile in pixels.
        overlap: Minimum overlap of neighbouring tiles in pixels, below ``tile``.
        batch_size: Maximum number of crops per call.
        finish: Applied to rows ``(K, rows, W)`` as they are finished, from the top.

    Returns:
        ``(K, H, W)``, or the results of ``finish``; on the CPU.

    Raises:
        ConfigError: ``tile`` is below 1, or ``overlap`` is outside 0 to ``tile - 1``.
    """
    check_tiles(tile, overlap)
    if max(image.shape[-2:]) <= tile:
        found = function(image[None])[0].cpu()
        return found if finish is None else finish(found)
    strips = _strips(function, image, tile, overlap, batch_size)
    return _assembled(strips, (image.shape[-2], image.shape[-1]), finish)


@dataclass(frozen=True)
class LargeImages:
    """Settings to process images that are too large to be processed as a whole.

    Attributes:
        max_side: Longest side of the downscaled copy in pixels; None keeps the size of
            the image.
        tile: Longest side of a tile of the copy in pixels; None processes the copy as a
            whole.
        overlap: Minimum overlap of tiles in pixels.

    Raises:
        ConfigError: ``max_side`` or ``tile`` is below 1, or ``overlap`` is outside 0 to
            ``tile - 1``.
    """

    max_side: int | None = None
    tile: int | None = None
    overlap: int = 64

    def __post_init__(self) -> None:
        """Refuses sizes that cover no image.

        Raises:
            ConfigError: ``max_side`` or ``tile`` is below 1, or ``overlap`` is outside 0
                to ``tile - 1``.
        """
        if self.max_side is not None and self.max_side < 1:
            raise ConfigError(
                f'max_side must be 1 or more, not {self.max_side}', token='max_side'
            )
        if self.tile is not None:
            check_tiles(self.tile, self.overlap)

    def __bool__(self) -> bool:
        """Whether a smaller copy or tiles are requested."""
        return self.max_side is not None or self.tile is not None

    def copy_of(self, image: Tensor) -> Tensor:
        """The downscaled copy of an image ``(C, H, W)``; see :func:`shrunk`."""
        return image if self.max_side is None else shrunk(image, self.max_side)

    def maps(
        self,
        function: Callable[[Tensor], Tensor],
        copy: Tensor,
        batch_size: int = 1,
        finish: Finish | None = None,
    ) -> Tensor:
        """Maps of the copy, as a whole or in tiles; see :func:`tiled`."""
        tile = self.tile or max(copy.shape[-2:])
        overlap = self.overlap if self.tile else 0
        return tiled(function, copy, tile, overlap, batch_size, finish)

    def divides(self, copy: Tensor) -> bool:
        """Whether a copy ``(C, H, W)`` is larger than a tile."""
        return self.tile is not None and max(copy.shape[-2:]) > self.tile

    def crops(self, copy: Tensor) -> Iterator[Tensor]:
        """The copy, or its tiles ``(C, h, w)``, row by row."""
        height, width = copy.shape[-2:]
        tile = self.tile or max(height, width)
        overlap = self.overlap if self.tile else 0
        for top, bottom in tile_spans(height, tile, overlap):
            for left, right in tile_spans(width, tile, overlap):
                yield copy[..., top:bottom, left:right]

    def provenance(self) -> dict[str, str]:
        """The settings for the record; empty if photos are processed as a whole."""
        words = {}
        if self.max_side is not None:
            words['working_size'] = f'at most {self.max_side} px'
        if self.tile is not None:
            words['tiles'] = f'{self.tile} px, overlapping by {self.overlap}'
        return words


def check_tiles(tile: int, overlap: int) -> None:
    """Refuses sizes that cover no image.

    Raises:
        ConfigError: ``tile`` is below 1, or ``overlap`` is outside 0 to ``tile - 1``.
    """
    if tile < 1 or not 0 <= overlap < tile:
        raise ConfigError(
            f'tiles need a side >= 1 and an overlap from 0 to below it, not tile={tile} '
            f'and overlap={overlap}',
            token='tile',
        )


def tile_spans(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Start and end of each tile along one side, ascending and evenly spaced.

    Args:
        length: Of the side of the image.
        tile: Of a tile; a shorter side is one tile.
        overlap: At least between neighbours.
    """
    if length <= tile:
        return [(0, length)]
    steps = -(-(length - tile) // (tile - overlap))
    room = length - tile
    first = [-(-i * room // steps) for i in range(steps // 2 + 1)]
    # The second half mirrors the first, so that a flipped image has flipped tiles.
    last = [room - start for start in first[: steps + 1 - len(first)]]
    return [(start, start + tile) for start in [*first, *last[::-1]]]


def blend_weights(spans: list[tuple[int, int]]) -> list[Tensor]:
    """The weight of each tile along one side: positive, with sum 1 at every pixel.

    Args:
        spans: Of :func:`tile_spans`.

    Returns:
        ``(tile,)`` float32 each. The weight of an area is the product of both sides'.
    """
    length = spans[-1][1]
    ramps, total = [], torch.zeros(length, dtype=torch.float64)
    for i, (begin, end) in enumerate(spans):
        ramp = torch.ones(end - begin, dtype=torch.float64)
        if i:
            shared = spans[i - 1][1] - begin
            ramp[:shared] *= (torch.arange(shared) + 0.5) / shared
        if i + 1 < len(spans):
            shared = end - spans[i + 1][0]
            ramp[len(ramp) - shared :] *= ((torch.arange(shared) + 0.5) / shared).flip(
                0
            )
        total[begin:end] += ramp
        ramps.append(ramp)
    return [
        (ramp / total[begin:end]).float()
        for ramp, (begin, end) in zip(ramps, spans, strict=True)
    ]


def _strips(
    function: Callable[[Tensor], Tensor],
    image: Tensor,
    tile: int,
    overlap: int,
    batch_size: int,
) -> Iterator[Tensor]:
    """Finished rows ``(K, rows, W)`` of the blended maps, from the top."""
    rows = tile_spans(image.shape[-2], tile, overlap)
    columns = tile_spans(image.shape[-1], tile, overlap)
    across = blend_weights(columns)
    next_tops = [top for top, _ in rows[1:]] + [rows[-1][1]]
    left_over: Tensor | None = None
    for (top, bottom), down, end in zip(
        rows, blend_weights(rows), next_tops, strict=True
    ):
        crops = [image[:, top:bottom, slice(*span)] for span in columns]
        band = _band(_in_batches(function, crops, batch_size), columns, across)
        band *= down[:, None]
        if left_over is not None:
            band[:, : left_over.shape[1]] += left_over
        yield band[:, : end - top]
        left_over = band[:, end - top :].clone()


def _in_batches(
    function: Callable[[Tensor], Tensor], crops: list[Tensor], batch_size: int
) -> Iterator[Tensor]:
    """The maps ``(K, h, w)`` of each crop."""
    for begin in range(0, len(crops), batch_size):
        yield from function(torch.stack(crops[begin : begin + batch_size])).cpu()


def _band(
    maps: Iterator[Tensor], columns: list[tuple[int, int]], across: list[Tensor]
) -> Tensor:
    """One row of tiles side by side, ``(K, tile, W)``."""
    first = next(maps)
    band = first.new_zeros(*first.shape[:2], columns[-1][1])
    for each, span, weights in zip(chain([first], maps), columns, across, strict=True):
        band[:, :, slice(*span)] += each * weights
    return band


def _assembled(
    strips: Iterator[Tensor], size: tuple[int, int], finish: Finish | None
) -> Tensor:
    """Strips of rows one below the other, each finished as it comes."""
    done = map(finish, strips) if finish is not None else strips
    first = next(done)
    if tuple(first.shape[-2:]) == size:
        return first
    whole = first.new_empty(*first.shape[:-2], *size)
    top = 0
    for strip in chain([first], done):
        whole[..., top : top + strip.shape[-2], :] = strip
        top += strip.shape[-2]
    return whole


def shrunk(image: Tensor, max_side: int) -> Tensor:
    """An image whose longer side is at most ``max_side``, averaged where it shrinks.

    Args:
        image: ``(C, H, W)``, uint8 or floats.
        max_side: In pixels.

    Returns:
        ``(C, h, w)`` of the same type.
    """
    size = shrunk_size((image.shape[-2], image.shape[-1]), max_side)
    if size == tuple(image.shape[-2:]):
        return image
    return F.interpolate(
        image[None], size=size, mode='bilinear', align_corners=False, antialias=True
    )[0]


def shrunk_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """``(H, W)`` with the longer side at most ``max_side``, in the same shape."""
    longest = max(size)
    if longest <= max_side:
        return size
    height, width = (max(1, round(side * max_side / longest)) for side in size)
    return height, width


def enlarged(
    maps: Tensor,
    size: tuple[int, int],
    finish: Finish | None = None,
    rows: int = 256,
) -> Tensor:
    """Maps at a larger size, bilinear with half-pixel centres, a few rows at a time.

    Args:
        maps: ``(K, h, w)`` floats.
        size: ``(H, W)``.
        finish: Applied to rows ``(K, rows, W)`` as they are finished, from the top, so
            that the large maps are never there as a whole.
        rows: How many at a time.

    Returns:
        ``(K, H, W)``, or what ``finish`` makes of it.
    """
    if size == tuple(maps.shape[-2:]):
        return maps if finish is None else finish(maps)

    def strips() -> Iterator[Tensor]:
        """Yields the enlarged rows ``(K, rows, W)``, from the top."""
        height = maps.shape[-2]
        for top, bottom in pairwise([*range(0, size[0], rows), size[0]]):
            place = (torch.arange(top, bottom) + 0.5) * (height / size[0]) - 0.5
            place = place.clamp(0, height - 1)
            above = place.floor().long()
            below = (above + 1).clamp(max=height - 1)
            part = (place - above)[:, None].to(maps)
            strip = maps[:, above].lerp(maps[:, below], part)
            yield F.interpolate(
                strip[None],
                size=(bottom - top, size[1]),
                mode='bilinear',
                align_corners=False,
            )[0]

    return _assembled(strips(), size, finish)
