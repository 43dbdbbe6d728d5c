"""Tiles against the whole image, weights against their sum, and memory."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import ConfigError
from wsss_plugins.structures.tiles import (
    LargeImages,
    blend_weights,
    enlarged,
    shrunk,
    tile_spans,
    tiled,
)

CASES = [
    (20, 8, 3),
    (21, 8, 0),
    (17, 8, 7),
    (9, 8, 2),
    (8, 8, 2),
    (1, 8, 2),
    (40, 7, 4),
]


def twice(crops: Tensor) -> Tensor:
    """A function of single pixels, which tiles cannot change."""
    return torch.cat([crops * 2, crops[:, :1] + 1], 1)


@pytest.mark.parametrize(('length', 'tile', 'overlap'), CASES)
def test_tiles_cover_the_side_evenly(length, tile, overlap) -> None:
    spans = tile_spans(length, tile, overlap)
    assert spans[0][0] == 0 and spans[-1][1] == length
    assert {end - begin for begin, end in spans} == {min(tile, length)}
    shared = [a[1] - b[0] for a, b in pairwise(spans)]
    assert min(shared, default=overlap) >= overlap
    fewest = max(1, -(-(length - overlap) // (tile - overlap)))
    assert len(spans) == fewest
    assert len(spans) == 1 or all(a < b for (a, _), (b, _) in pairwise(spans))


@pytest.mark.parametrize(('length', 'tile', 'overlap'), CASES)
def test_weights_sum_to_one_and_fall_to_the_border(length, tile, overlap) -> None:
    spans = tile_spans(length, tile, overlap)
    weights = blend_weights(spans)
    total = np.zeros(length)
    for (begin, end), weight in zip(spans, weights, strict=True):
        total[begin:end] += weight.numpy()
        assert (weight > 0).all()
    np.testing.assert_allclose(total, 1, atol=1e-6)
    for i, weight in enumerate(weights):
        if i and overlap:
            assert weight[0] < 0.5
        if i + 1 < len(weights) and overlap:
            assert weight[-1] < 0.5
    assert weights[0][0] == 1 and weights[-1][-1] == 1, 'at the borders of the image'


@pytest.mark.parametrize('seed', range(20))
def test_tiles_do_not_change_a_function_of_pixels(seed) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 40, 2)
    tile = int(rng.integers(1, 20))
    overlap, batch = int(rng.integers(0, tile)), int(rng.integers(1, 6))
    image = torch.rand(3, int(height), int(width))
    found = tiled(twice, image, tile, overlap, batch)
    torch.testing.assert_close(found, twice(image[None])[0], atol=1e-6, rtol=0)


def test_one_tile_is_the_whole_image_to_the_last_bit() -> None:
    image = torch.rand(3, 13, 21)
    blur = torch.nn.Conv2d(3, 4, 5, padding=2)
    with torch.no_grad():
        assert tiled(blur, image, 21, 5).equal(blur(image[None])[0])


def test_a_constant_image_gives_a_constant_map() -> None:
    """No seam, though every tile has borders of its own."""
    image = torch.full((1, 37, 53), 0.7)
    found = tiled(lambda x: x.mean((2, 3), keepdim=True).expand_as(x), image, 16, 5)
    torch.testing.assert_close(found, image, atol=1e-6, rtol=0)


def test_no_step_where_tiles_meet() -> None:
    """Tiles that disagree by 1 are blended over their overlap, in steps of 1 / overlap."""
    values = iter([0.0, 1.0])
    image = torch.zeros(1, 4, 20)
    found = tiled(lambda x: x + next(values), image, 12, 4)[0, 0]
    steps = found.diff()
    assert found[0] == 0 and found[-1] == 1
    assert steps.min() >= 0 and steps.max() <= 1 / 4 + 1e-6


def test_flipped_images_give_flipped_maps() -> None:
    blur = torch.nn.Conv2d(1, 1, 5, padding=2, bias=False)
    with torch.no_grad():
        blur.weight.copy_((blur.weight + blur.weight.flip(-1)) / 2)
        image = torch.rand(1, 24, 42)
        found = tiled(blur, image, 12, 4)
        flipped = tiled(blur, image.flip(-1), 12, 4)
    torch.testing.assert_close(flipped.flip(-1), found, atol=1e-6, rtol=0)


def test_shifted_images_give_shifted_maps() -> None:
    """Moved by the distance of two tiles, all but the outer tiles see the same."""
    blur = torch.nn.Conv2d(1, 1, 5, padding=2)
    image = torch.rand(1, 12, 60)
    assert [begin for begin, _ in tile_spans(52, 12, 4)] == [0, 8, 16, 24, 32, 40]
    with torch.no_grad():
        first = tiled(blur, image[..., :52], 12, 4)
        second = tiled(blur, image[..., 8:], 12, 4)
    torch.testing.assert_close(second[..., 4:-12], first[..., 12:-4], atol=1e-6, rtol=0)


def test_finished_rows_come_once_and_in_order() -> None:
    tops = []

    def finish(strip: Tensor) -> Tensor:
        tops.append(strip.shape[-2])
        return strip.argmax(0).to(torch.uint8)

    image = torch.rand(3, 33, 20)
    found = tiled(lambda x: x, image, 8, 3, finish=finish)
    assert found.dtype == torch.uint8
    assert found.equal(image.argmax(0).to(torch.uint8))
    assert sum(tops) == 33 and max(tops) <= 8


def test_batches_hold_tiles_of_one_size() -> None:
    seen = []

    def watch(crops: Tensor) -> Tensor:
        seen.append(tuple(crops.shape))
        return crops

    tiled(watch, torch.rand(3, 5, 50), 16, 4, batch_size=3)
    assert seen == [(3, 3, 5, 16), (1, 3, 5, 16)]


@pytest.mark.parametrize(('tile', 'overlap'), [(0, 0), (8, 8), (8, -1), (8, 9)])
def test_sizes_that_cover_nothing_are_refused(tile, overlap) -> None:
    with pytest.raises(ConfigError, match=f'tile={tile} and overlap={overlap}'):
        tiled(twice, torch.zeros(3, 9, 9), tile, overlap)


def test_memory_is_one_row_of_tiles_and_the_result() -> None:
    """21 classes of 400 x 300 pixels are 10 MB; a row of tiles and the labels 0.8 MB."""
    image = torch.zeros(1, 400, 300, dtype=torch.uint8)
    held = []

    def classes(crops: Tensor) -> Tensor:
        return torch.rand(len(crops), 21, *crops.shape[2:])

    def finish(strip: Tensor) -> Tensor:
        held.append(strip.untyped_storage().nbytes())  # of the band it is a view of
        return strip.argmax(0).to(torch.uint8)

    tiled(classes, image, 32, 8, finish=finish)
    assert max(held) == 21 * 32 * 300 * 4


# ---- smaller and larger


def test_shrinking_averages() -> None:
    image = torch.arange(48.0).reshape(1, 6, 8)
    assert shrunk(image, 8) is image and shrunk(image, 9) is image
    small = shrunk(image, 4)
    assert small.shape == (1, 3, 4)
    assert abs(float(small.mean() - image.mean())) < 1e-4
    checkers = (torch.arange(64) % 2 * 255).expand(1, 64, 64).to(torch.uint8)
    grey = shrunk(checkers, 8)
    assert grey.dtype == torch.uint8
    assert (grey.int() - 128).abs().max() <= 6, 'no aliasing'
    assert shrunk(torch.zeros(3, 1, 900), 10).shape == (3, 1, 10)


@pytest.mark.parametrize('size', [(30, 50), (7, 50), (30, 11), (7, 11), (301, 23)])
@pytest.mark.parametrize('rows', [1, 8, 256])
def test_enlarging_by_rows_is_enlarging(size, rows) -> None:
    maps = torch.rand(2, 7, 11)
    whole = F.interpolate(maps[None], size=size, mode='bilinear', align_corners=False)[
        0
    ]
    torch.testing.assert_close(
        enlarged(maps, size, rows=rows), whole, atol=1e-5, rtol=0
    )
    labels = enlarged(maps, size, lambda strip: strip.argmax(0), rows)
    assert (labels != whole.argmax(0)).float().mean() < 0.01
    assert enlarged(maps, (7, 11)) is maps


def test_large_images_are_taken_as_asked_for() -> None:
    image = torch.rand(3, 20, 30)
    assert not LargeImages() and LargeImages(max_side=9) and LargeImages(tile=99)
    assert LargeImages().copy_of(image) is image
    assert LargeImages().maps(twice, image).equal(twice(image[None])[0])
    halved = LargeImages(max_side=15, tile=8, overlap=2)
    copy = halved.copy_of(image)
    assert copy.equal(shrunk(image, 15)) and copy.shape == (3, 10, 15)
    torch.testing.assert_close(
        halved.maps(twice, copy), tiled(twice, copy, 8, 2), atol=0, rtol=0
    )
    crops = list(halved.crops(copy))
    assert [tuple(c.shape) for c in crops] == [(3, 8, 8)] * 6
    assert crops[0].equal(copy[:, :8, :8]) and crops[-1].equal(copy[:, 2:, 7:])
    assert [c.shape for c in LargeImages().crops(image)] == [image.shape]
    for wrong in (dict(max_side=0), dict(tile=0), dict(tile=9, overlap=9)):
        with pytest.raises(ConfigError, match=r'max_side must be 1|tiles need a side'):
            LargeImages(**wrong)
