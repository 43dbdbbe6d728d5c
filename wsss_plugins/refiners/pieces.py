"""Applies refiners to large photos at a smaller size, or tile by tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from wsss_plugins.refiners.base import Refiner, RefinerChain
from wsss_plugins.registry import REFINERS
from wsss_plugins.structures import Seed
from wsss_plugins.structures.tiles import LargeImages


@REFINERS.register_module()
class InPieces(Refiner):
    """Applies refiners to a smaller copy of a large photo or to overlapping tiles.

    A dense CRF needs 400 to 500 bytes a pixel, 5 GB for a photo of 12 million. A
    smaller copy keeps the context of the whole photo, and the refined scores are
    upsampled. Tiles keep the full resolution, and are blended where they overlap. A
    photo that is small enough is refined at its own size. Put the background policy
    before this refiner, since the policy uses the whole photo.

    Args:
        refiners: Refiners or their configs, in order; with an empty list the seed is
            unchanged.
        max_side: Longest side of the copy in pixels; None keeps the photo's size.
        tile: Longest side of a tile of the copy in pixels; None refines the copy as a
            whole.
        overlap: Minimum overlap of tiles in pixels.

    Raises:
        ConfigError: A size is out of range, or an entry of ``refiners`` is not a
            refiner.
    """

    def __init__(
        self,
        refiners: Sequence[Refiner | Mapping[str, Any]] = (),
        max_side: int | None = 1000,
        tile: int | None = None,
        overlap: int = 64,
    ) -> None:
        self.chain = RefinerChain(refiners)
        self.stages = self.chain.stages
        self.large = LargeImages(max_side, tile, overlap)

    def bind(self, models: Mapping[str, nn.Module]) -> None:
        """Passes the models to every refiner."""
        self.chain.bind(models)

    def parts(self) -> Sequence[Refiner]:
        """The refiners of the copy or the tiles."""
        return (self.chain,)

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Refines a copy or tiles of the image, and resizes the scores to its size."""
        small = self.large.copy_of(image)
        size = (small.shape[1], small.shape[2])
        refined = self._refined(small, seed.resized(size))
        return refined.resized(seed.size)

    def _refined(self, image: Tensor, seed: Seed) -> Seed:
        """The refined seed of the copy, tile by tile if ``tile`` is set."""
        if max(seed.size) <= (self.large.tile or max(seed.size)):
            return self.chain(image, seed)
        known = seed.scores if seed.background is None else seed.probabilities()
        layers = torch.cat([image.to(known), known])

        def refine(crops: Tensor) -> Tensor:
            """Refined probabilities ``(1, 1 + K, h, w)`` of one crop of the layers."""
            (crop,) = crops
            pixels, values = crop[:3].to(torch.uint8), crop[3:]
            if seed.background is None:
                part = replace(seed, scores=values)
            else:
                part = replace(seed, scores=values[1:], background=values[0])
            return self.chain(pixels, part).probabilities()[None]

        background, *scores = self.large.maps(refine, layers)
        stacked = torch.stack(scores) if scores else seed.scores
        return replace(seed, scores=stacked.to(known), background=background.to(known))
