"""Rank correlation and its bootstrap, against scipy row by row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import rank_correlation
from wsss_plugins.metrics.rank_correlation import spearman_of_rows


def test_rows_are_scipys_also_with_ties() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (2, 40, 8)).astype(float)
    found = spearman_of_rows(x, y)
    for row, one, other in zip(found, x, y, strict=True):
        assert row == pytest.approx(spearmanr(one, other).statistic)
    x[3] = 2.0
    found = spearman_of_rows(x, y)
    assert np.isnan(found[3]) and np.isfinite(np.delete(found, 3)).all()


def test_numbers_and_interval() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=12)
    y = x + rng.normal(size=12)
    found = rank_correlation(x, y, 500, seed=3)
    assert found.spearman == pytest.approx(spearmanr(x, y).statistic)
    assert found.kendall == pytest.approx(kendalltau(x, y).statistic)
    assert (found.count, found.resamples, found.why) == (12, 500, '')
    drawn = np.random.default_rng(3).integers(0, 12, (500, 12))
    each = [spearmanr(x[i], y[i]).statistic for i in drawn]
    assert found.low == pytest.approx(np.percentile(each, 2.5))
    assert found.high == pytest.approx(np.percentile(each, 97.5))
    assert found == rank_correlation(x, y, 500, seed=3), 'the same every time'
    assert rank_correlation(x, y, 500, seed=4).low != found.low


def test_order_alone_counts() -> None:
    up = rank_correlation([1, 2, 3, 4], [0.1, 0.2, 7.0, 900.0])
    assert (up.spearman, up.kendall, up.low, up.high) == (1, 1, 1, 1)
    assert up.resamples < 2000, 'resamples of one cell four times have no correlation'
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]).spearman == -1


def test_negated_is_that_of_the_negative() -> None:
    x, y = np.random.default_rng(2).normal(size=(2, 9))
    found, expected = rank_correlation(x, y).negated(), rank_correlation(x, -y)
    assert found.spearman == pytest.approx(expected.spearman)
    assert found.kendall == pytest.approx(expected.kendall)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert rank_correlation([1], [1]).negated().spearman is None


def test_undefined() -> None:
    few = rank_correlation([1, 2], [3, 4])
    assert few.spearman is few.low is None and few.why == '2 cells, fewer than 3'
    assert rank_correlation([], []).why == '0 cells, fewer than 3'
    assert rank_correlation([5, 5, 5], [1, 2, 3]).why == 'all 3 values are 5'
    assert rank_correlation([1, 2, 3], [0.5] * 3).why == 'all 3 values are 0.5'


def test_wrong_input() -> None:
    with pytest.raises(
        DataError, match=r'vectors of one length, not \(2,\) and \(3,\)'
    ):
        rank_correlation([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match='not finite: leave its cell out'):
        rank_correlation([1, 2, np.nan], [1, 2, 3])
    with pytest.raises(ConfigError, match='resamples must be at least 1, not 0'):
        rank_correlation([1, 2, 3], [1, 2, 3], resamples=0)
