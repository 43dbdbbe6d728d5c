"""Label-free thresholds against their definitions and on histograms by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.refiners import CRITERIA, label_free_threshold, score_histogram
from wsss_plugins.refiners.threshold import NUM_BINS


def histogram_of(*parts: tuple[float, float, int]) -> np.ndarray:
    """Normal bumps ``(centre, width, pixels)`` cut to [0, 1]."""
    rng = np.random.default_rng(0)
    draws = [rng.normal(centre, width, pixels) for centre, width, pixels in parts]
    return score_histogram(np.concatenate(draws).clip(0, 1)[None, None])


def sides(histogram: np.ndarray, edge: int) -> list[tuple[float, np.ndarray]]:
    """Share and inner distribution of the bins below and above an edge."""
    p = histogram / histogram.sum()
    return [(part.sum(), part / part.sum()) for part in (p[:edge], p[edge:])]


def otsu_value(histogram: np.ndarray, edge: int) -> float:
    (low, p), (high, q) = sides(histogram, edge)
    centres = (np.arange(len(histogram)) + 0.5) / len(histogram)
    return low * high * (p @ centres[:edge] - q @ centres[edge:]) ** 2


def entropy_value(histogram: np.ndarray, edge: int) -> float:
    return sum(-(p[p > 0] * np.log(p[p > 0])).sum() for _, p in sides(histogram, edge))


@pytest.mark.parametrize(
    ('criterion', 'value'), [('otsu', otsu_value), ('max_entropy', entropy_value)]
)
def test_chooses_the_edge_of_the_highest_value(criterion: str, value) -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        histogram = rng.integers(0, 9, 40) * rng.integers(0, 2, 40)
        used = np.flatnonzero(histogram)
        values = [value(histogram, edge) for edge in range(used[0] + 1, used[-1] + 1)]
        edge = round(40 * label_free_threshold(histogram, criterion))
        assert value(histogram, edge) == pytest.approx(max(values), rel=1e-12)


@pytest.mark.parametrize('criterion', ['otsu', 'foreground_share'])
def test_finds_the_valley_between_two_bumps(criterion: str) -> None:
    histogram = histogram_of((0.2, 0.05, 30_000), (0.8, 0.05, 10_000))
    assert 0.35 < label_free_threshold(histogram, criterion, share=0.25) < 0.65


def test_entropy_does_not_lose_a_small_foreground() -> None:
    """Otsu cuts through a broad background; the sides of entropy count alike."""
    histogram = histogram_of((0.2, 0.15, 99_000), (0.8, 0.05, 1_000))
    otsu, entropy = (
        label_free_threshold(histogram, c) for c in ('otsu', 'max_entropy')
    )
    assert otsu < 0.35 < 0.4 < entropy < 0.75


def test_share_is_the_part_that_exceeds_the_threshold() -> None:
    scores = np.random.default_rng(2).random((2, 90, 70)) ** 3
    threshold = label_free_threshold(
        score_histogram(scores), 'foreground_share', share=0.3
    )
    assert (scores.max(0) > threshold).mean() == pytest.approx(0.3, abs=0.01)


def test_histogram_counts_the_strongest_class() -> None:
    scores = np.zeros((2, 1, 5), np.float32)
    scores[0] = [0, 0.0005, 0.0015, 1.0, 0.4]
    scores[1, 0, 4] = 0.9995
    counts = score_histogram(scores)
    assert counts.shape == (NUM_BINS,) and counts.sum() == 5
    assert (counts[0], counts[1], counts[-1]) == (2, 1, 2)
    assert score_histogram(np.zeros((0, 3, 4), np.float32))[0] == 12


def test_histograms_add_up() -> None:
    rng = np.random.default_rng(3)
    scores = rng.random((1, 20, 30))
    parts = [score_histogram(part) for part in np.split(scores, 4, axis=1)]
    np.testing.assert_array_equal(sum(parts), score_histogram(scores))


@pytest.mark.parametrize('criterion', CRITERIA)
def test_a_plateau_gives_its_middle(criterion: str) -> None:
    histogram = np.zeros(100, int)
    histogram[[9, 89]] = 500
    assert label_free_threshold(histogram, criterion, 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize('criterion', CRITERIA)
def test_scores_that_are_all_alike_are_refused(criterion: str) -> None:
    with pytest.raises(DataError, match='the same everywhere'):
        label_free_threshold(score_histogram(np.zeros((1, 3, 4))), criterion)


def test_wrong_settings() -> None:
    histogram = histogram_of((0.5, 0.2, 100))
    with pytest.raises(ConfigError, match=r"'osu'.*did you mean 'otsu'"):
        label_free_threshold(histogram, 'osu')
    with pytest.raises(ConfigError, match=r'must be in \(0, 1\), not 1.2'):
        label_free_threshold(histogram, 'foreground_share', share=1.2)
