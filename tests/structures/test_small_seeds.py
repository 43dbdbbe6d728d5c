"""Seeds that are kept small: what is read equals what would have been kept large."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import DataError
from wsss_plugins.structures import Seed, load_npz, save_npz
from wsss_plugins.structures.seed import SmallSeed
from wsss_plugins.structures.small_maps import SmallMaps, Step

SCALES, SIZE, LARGE = ((5, 7), (9, 14)), (20, 30), (33, 41)


def maps(count: int = 2) -> tuple[Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    return tuple(3 * torch.rand(count, *size, generator=rng) for size in SCALES)


def large(values: Tensor, size: tuple[int, int], aligned: bool = False) -> Tensor:
    return F.interpolate(
        values[None].double(), size, mode='bilinear', align_corners=aligned
    )[0]


@pytest.mark.parametrize('aligned', [False, True])
@pytest.mark.parametrize('count', [1, 2])
def test_what_is_read_is_what_a_large_seed_would_hold(tmp_path, aligned, count) -> None:
    """Also with a second step: the maps are scaled before it, as large ones are."""
    classes = torch.tensor([3, 1])
    scales = maps()[:count]
    small = SmallMaps(scales, (Step(*SIZE, aligned),)).normalised()
    total = sum(large(each, SIZE, aligned) for each in scales)
    low, high = total.amin((1, 2), True), total.amax((1, 2), True)
    whole = (total - low) / (high - low + 1e-6)
    for name, kept, expected in (
        ('once', small, whole),
        ('twice', small.resized(LARGE), large(whole, LARGE)),
    ):
        SmallSeed(kept, classes).save(tmp_path / f'{name}.npz')
        read = Seed.load(tmp_path / f'{name}.npz')
        torch.testing.assert_close(read.scores, expected.float(), atol=2e-6, rtol=0)
        torch.testing.assert_close(
            SmallSeed(kept, classes).enlarged().scores, read.scores
        )
        assert read.classes.equal(classes) and read.scores.dtype == torch.float32
    arrays = load_npz(tmp_path / 'twice.npz')
    assert arrays['steps'].tolist() == [[*SIZE, aligned], [*LARGE, 0]]
    assert ('scores_1' in arrays) is (count == 2)


def test_half_precision_stays_in_its_range(tmp_path) -> None:
    """Rounded values may lead a little above 1 or below 0, where refiners break."""
    small = SmallMaps(maps(40)[:1], (Step(*SIZE),)).normalised()
    rounded = small.half()
    found = rounded.enlarged()
    assert (found < 0).any() and (found > 1).any(), 'without the clip'
    SmallSeed(rounded, torch.arange(40)).save(tmp_path / 'x.npz')
    assert load_npz(tmp_path / 'x.npz')['scores'].dtype == np.float16
    read = Seed.load(tmp_path / 'x.npz').scores
    assert read.min() == 0 and read.max() == 1
    torch.testing.assert_close(read, small.enlarged(), atol=2**-10, rtol=0)


def test_no_class_zero_maps_and_confidence(tmp_path) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    empty = SmallMaps((torch.zeros(0, 5, 7), torch.zeros(0, 9, 14)), (Step(*SIZE),))
    SmallSeed(empty.normalised(), none).save(tmp_path / 'x.npz')
    assert Seed.load(tmp_path / 'x.npz').scores.shape == (0, *SIZE)
    zero = SmallMaps((torch.zeros(1, 5, 7),), (Step(*SIZE),)).normalised()
    sure = torch.tensor([0.25])
    SmallSeed(zero.half(), torch.arange(1), sure).save(tmp_path / 'x.npz')
    read = Seed.load(tmp_path / 'x.npz')
    assert not read.scores.any() and read.confidence.equal(sure)


@pytest.mark.parametrize('kind', [np.float32, np.float16, np.float64])
def test_files_of_earlier_versions_are_read_as_they_are(tmp_path: Path, kind) -> None:
    scores = np.random.default_rng(0).random((2, *SIZE)).astype(kind) * 7
    np.savez_compressed(
        tmp_path / 'x.npz', scores=scores, classes=np.arange(2, dtype=np.int32)
    )
    read = Seed.load(tmp_path / 'x.npz')
    assert read.scores.numpy().tobytes() == scores.astype(np.float32).tobytes()
    assert read.size == SIZE


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (
            dict(steps=np.zeros((2, 2), int)),
            r'its steps are \(2, 2\) of int64: needed are',
        ),
        (
            dict(steps=np.zeros((0, 3), int)),
            r'needed are whole numbers \(S, 3\), S >= 1',
        ),
        (dict(steps=np.ones((1, 3))), 'of float64: needed are whole numbers'),
        (
            dict(steps=[[4, 0, 0]]),
            'leads to 4x0 pixels: allowed are sides of at least 1',
        ),
        (dict(steps=[[-4, 9, 0]]), 'leads to -4x9 pixels'),
        (
            dict(steps=[[2**40, 2**40, 1]]),
            r'leads to 1099511627776x\d+ .* most 178956970',
        ),
        (
            dict(steps=[[*SIZE, 0]], scores_1=np.zeros((2, 3, 4))),
            r'of the same K at every scale, not \[\(1, 5, 7\), \(2, 3, 4\)\]',
        ),
        (dict(steps=[[*SIZE, 0]], scores_1=np.full((1, 3, 4), np.nan)), 'not finite'),
    ],
)
def test_small_seeds_that_are_broken_are_named(tmp_path, more, message) -> None:
    path = tmp_path / 'bad.npz'
    arrays = dict(scores=np.zeros((1, 5, 7), np.float16), classes=np.arange(1), **more)
    save_npz(path, {key: np.asarray(value) for key, value in arrays.items()})
    with pytest.raises(DataError, match=f'bad.npz.*{message}'):
        Seed.load(path)


def test_the_level_changes_the_size_and_not_the_content(tmp_path) -> None:
    values = dict(a=np.arange(5000) // 7, b=np.float32(2))
    for level in (None, 1, 9):
        save_npz(tmp_path / f'{level}.npz', values, level)
        read = load_npz(tmp_path / f'{level}.npz')
        assert all((read[key] == value).all() for key, value in values.items())
    np.savez_compressed(tmp_path / 'numpy.npz', **values)
    written = {p.stem: p.read_bytes() for p in tmp_path.iterdir()}
    assert written['None'] == written['numpy'], 'as numpy writes it'
    assert len(written['1']) > len(written['9'])
