"""Refining a smaller copy, or tiles, against refining the whole photo."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import DenseCRF, InPieces, PatchAffinity, Refiner
from wsss_plugins.structures import Seed
from wsss_plugins.structures.tiles import shrunk

CRF = dict(type='DenseCRF', iterations=2, reference_size=500)


def photo(height: int = 40, width: int = 60) -> Tensor:
    ramp = torch.linspace(0, 255, width).expand(3, height, width).clone()
    ramp[0] = torch.linspace(255, 0, height)[:, None]
    return ramp.to(torch.uint8)


def make_seed(height: int = 40, width: int = 60, background: bool = True) -> Seed:
    scores = torch.rand(2, height, width)
    return Seed(
        scores, torch.tensor([3, 5]), 1 - scores.amax(0) if background else None
    )


def same(first: Seed, second: Seed, atol: float = 0) -> None:
    torch.testing.assert_close(
        first.probabilities(), second.probabilities(), atol=atol, rtol=0
    )
    assert first.classes.equal(second.classes)


class Mean(Refiner):
    """Sees the whole image it is given: its mean colour becomes every score."""

    seen: list[tuple[int, ...]]

    def __init__(self) -> None:
        self.seen = []

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        self.seen.append(seed.size)
        assert image.dtype == torch.uint8
        level = image.float().mean() / 255
        return Seed(
            seed.scores * 0 + level, seed.classes, torch.zeros(seed.size) + 1 - level
        )


class Pixelwise(Refiner):
    """Looks at nothing but the pixel and its colour."""

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        scores = seed.scores**2 * image.float().mean(0) / 255
        background = scores.amax(0) if seed.background is None else seed.background / 2
        return Seed(scores, seed.classes, background)


@pytest.mark.parametrize(
    'options', [dict(max_side=60), dict(max_side=None, tile=60, overlap=9)]
)
def test_a_small_photo_is_refined_as_it_is(options) -> None:
    image, seed = photo(), make_seed()
    same(
        InPieces([CRF], **options)(image, seed),
        DenseCRF(iterations=2, reference_size=500)(image, seed),
    )


def test_a_large_photo_is_refined_as_a_smaller_copy() -> None:
    image, seed = photo(), make_seed()
    small = DenseCRF(iterations=2, reference_size=500)(
        shrunk(image, 30), seed.resized((20, 30))
    )
    same(InPieces([CRF], max_side=30)(image, seed), small.resized((40, 60)))


@pytest.mark.parametrize('background', [True, False])
def test_tiles_do_not_change_what_looks_at_single_pixels(background) -> None:
    image, seed = photo(), make_seed(background=background)
    whole = Pixelwise()(image, seed)
    tiles = InPieces([Pixelwise()], max_side=None, tile=17, overlap=5)
    same(tiles(image, seed), whole, 1e-6)


def test_every_tile_is_seen_once_and_no_larger() -> None:
    mean = Mean()
    InPieces([mean], max_side=30, tile=12, overlap=3)(photo(), make_seed())
    assert mean.seen == [(12, 12)] * 6, 'of a copy of 20 x 30'


def test_no_seam_on_a_constant_photo() -> None:
    image = torch.full((3, 40, 60), 51, dtype=torch.uint8)
    found = InPieces([Mean()], max_side=None, tile=16, overlap=4)(image, make_seed())
    assert (found.scores - 0.2).abs().max() < 1e-6
    assert (found.background - 0.8).abs().max() < 1e-6


def test_marginals_still_sum_to_one() -> None:
    found = InPieces([CRF], max_side=50, tile=20, overlap=8)(photo(), make_seed())
    total = found.probabilities().sum(0)
    torch.testing.assert_close(total, torch.ones(40, 60), atol=1e-5, rtol=0)


def test_a_photo_without_classes() -> None:
    empty = Seed(
        torch.zeros(0, 40, 60), torch.zeros(0, dtype=torch.int64), torch.ones(40, 60)
    )
    found = InPieces([CRF], max_side=30, tile=12, overlap=2)(photo(), empty)
    assert found.size == (40, 60) and (found.to_label() == 0).all()


def test_models_go_to_the_refiners(tiny_classifier) -> None:
    pieces = InPieces([dict(type='PatchAffinity', model='acr')])
    assert pieces.stages == ('acr',)
    pieces.bind({'acr': tiny_classifier()})
    (refiner,) = pieces.chain.refiners
    assert isinstance(refiner, PatchAffinity)
    image, seed = photo(), make_seed()
    same(pieces(image, seed), refiner(image, seed))


@pytest.mark.parametrize(
    'options', [dict(max_side=0), dict(tile=0), dict(tile=8, overlap=8)]
)
def test_sizes_out_of_range(options) -> None:
    with pytest.raises(ConfigError, match=r'must be 1 or more|tiles need a side'):
        InPieces([CRF], **options)
