"""Rank correlation of two measures of the same cells, with an interval by the bootstrap.

Sources: Spearman, 1904; Kendall, 1938 (tau-b); Efron and Tibshirani, An Introduction to
the Bootstrap, 1993, chapter 13 (percentile interval).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau, rankdata, spearmanr

from wsss_plugins.errors import ConfigError, DataError

FEWEST = 3
"""Fewer pairs than these have no correlation worth a number."""

TAIL = 2.5
"""Percent of the resamples below the interval, and above it."""


@dataclass(frozen=True)
class RankCorrelation:
    """The rank correlation of some pairs of numbers.

    Attributes:
        count: Number of pairs.
        spearman: Spearman's rho in [-1, 1]; None if it is undefined.
        kendall: Kendall's tau-b in [-1, 1]; None if it is undefined.
        low: Lower end of the 95 % interval of rho; None if it is undefined.
        high: Upper end of that interval.
        resamples: Number of resamples in which rho is defined, of which the interval is
            made; resamples of equal pairs alone have none.
        why: Why rho is undefined; '' if it is defined.
    """

    count: int
    spearman: float | None = None
    kendall: float | None = None
    low: float | None = None
    high: float | None = None
    resamples: int = 0
    why: str = ''

    def negated(self) -> RankCorrelation:
        """The correlation with the negative of one of the two measures."""
        flipped = (self.spearman, self.kendall, self.high, self.low)
        rho, tau, low, high = (None if v is None else -v for v in flipped)
        return replace(self, spearman=rho, kendall=tau, low=low, high=high)


def rank_correlation(
    x: ArrayLike, y: ArrayLike, resamples: int = 2000, seed: int = 0
) -> RankCorrelation:
    """Correlates the ranks of two measures; pairs are resampled for the interval.

    Args:
        x: ``(N,)``, finite.
        y: ``(N,)``, finite, of the same cells.
        resamples: Number of resamples, each of N pairs that are drawn with replacement.
        seed: Random seed of the resamples.

    Returns:
        The correlations. They are undefined for fewer than :data:`FEWEST` pairs, and if
        all values of ``x`` or all values of ``y`` are equal.

    Raises:
        DataError: ``x`` and ``y`` are no vectors of one length, or a value is not finite.
        ConfigError: ``resamples`` is below 1.
    """
    one, other = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise DataError(
            f'x and y must be vectors of one length, not {one.shape} and {other.shape}'
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise DataError('a value is not finite: leave its cell out')
    if resamples < 1:
        raise ConfigError(f'resamples must be at least 1, not {resamples}')
    count = len(one)
    if count < FEWEST:
        return RankCorrelation(count, why=f'{count} cells, fewer than {FEWEST}')
    for values in (one, other):
        if np.ptp(values) == 0:
            return RankCorrelation(count, why=f'all {count} values are {values[0]:g}')
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    found = spearman_of_rows(one[drawn], other[drawn])
    found = found[np.isfinite(found)]
    low, high = np.percentile(found, [TAIL, 100 - TAIL]) if len(found) else (None, None)
    return RankCorrelation(
        count,
        spearman=float(spearmanr(one, other).statistic),
        kendall=float(kendalltau(one, other).statistic),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        resamples=len(found),
    )


def spearman_of_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rho of each row of ``(R, N)``; NaN where a row has equal values alone.

    Returns:
        ``(R,)``. Ties have the mean of their ranks.
    """
    ranks = [rankdata(values, axis=1) for values in (x, y)]
    one, other = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    size = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    with np.errstate(invalid='ignore'):
        return np.where(size > 0, (one * other).sum(1) / size, np.nan)
