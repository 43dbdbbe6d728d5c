"""Background thresholds of a whole data set, chosen from the seeds without masks.

All criteria read one histogram of the strongest class score of every pixel:
``label_free_threshold(sum(map(score_histogram, scores_of_the_seeds)), 'otsu')``.
Evaluation stages measure how much mIoU each criterion loses against the best threshold
on ground truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from wsss_plugins.errors import ConfigError, DataError, near_names

NUM_BINS = 1000
"""Bins of a score histogram; a threshold is one of their edges."""

FOREGROUND_SHARE = 0.3
"""Default share of the pixels that are assumed to show objects.

Objects fill 27 % of Pascal VOC 2012 val; too small a share costs more than too large.
"""


def score_histogram(scores: ArrayLike) -> np.ndarray:
    """Counts the strongest class score of each pixel of one seed; histograms add up.

    Args:
        scores: ``(K, H, W)`` in [0, 1], of :meth:`Seed.normalised`; K may be 0.

    Returns:
        ``(NUM_BINS,)`` int64 over [0, 1]; bin i holds ``i / NUM_BINS < score``, bin 0
        the zeros too.
    """
    scores = np.asarray(scores)
    # Class scores are >= 0; the zero stands for an image without any class.
    strongest = scores.max(0, initial=0).ravel()
    bins = np.ceil(strongest * NUM_BINS).astype(np.int64) - 1
    return np.bincount(bins.clip(0, NUM_BINS - 1), minlength=NUM_BINS)


def otsu(histogram: np.ndarray) -> float:
    """The threshold that best separates the means of its two sides.

    Source: Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE SMC
    1979, eq. 18. The criterion works where background and objects are of similar size
    and spread.

    Args:
        histogram: ``(B,)`` counts over [0, 1].
    """
    share, inner, below = _sides(histogram)
    centres = (np.arange(len(share)) + 0.5) / len(share)
    moment = (share * centres).cumsum()
    between = (moment[-1] * below - moment[inner]) ** 2 / (below * (1 - below))
    return _best_edge(between, inner, len(share))


def max_entropy(histogram: np.ndarray) -> float:
    """The threshold that maximises the sum of the entropies of its two sides.

    Source: Kapur, Sahoo and Wong, "A New Method for Gray-Level Picture Thresholding
    Using the Entropy of the Histogram", CVGIP 1985. Both sides have equal weight
    whatever their numbers of pixels, so that a small foreground is not neglected.

    Args:
        histogram: ``(B,)`` counts over [0, 1].
    """
    share, inner, below = _sides(histogram)
    spread = -(share * np.log(np.where(share > 0, share, 1))).cumsum()
    entropy = np.log(below * (1 - below)) + spread[inner] / below
    entropy += (spread[-1] - spread[inner]) / (1 - below)
    return _best_edge(entropy, inner, len(share))


def foreground_share(histogram: np.ndarray, expected: float) -> float:
    """The threshold that an expected share of all pixels exceeds (p-tile).

    Source: Doyle, "Operations Useful for Similarity-Invariant Pattern Recognition",
    JACM 1962. The share is prior knowledge of the data set that needs no mask: how much
    of an image its objects fill. Seeds are blobs, so choose a larger rather than a
    smaller share.

    Args:
        histogram: ``(B,)`` counts over [0, 1].
        expected: In (0, 1).

    Raises:
        ConfigError: A share out of range.
    """
    if not 0 < expected < 1:
        raise ConfigError(f'a foreground share must be in (0, 1), not {expected}')
    share, inner, below = _sides(histogram)
    return _best_edge(-np.abs(1 - below - expected), inner, len(share))


CRITERIA: Mapping[str, Callable[[np.ndarray, float], float]] = MappingProxyType(
    {
        'otsu': lambda histogram, _: otsu(histogram),
        'max_entropy': lambda histogram, _: max_entropy(histogram),
        'foreground_share': foreground_share,
    }
)
"""Label-free criteria: functions of a histogram and the expected share of foreground."""


def label_free_threshold(
    histogram: np.ndarray, criterion: str, share: float = FOREGROUND_SHARE
) -> float:
    """Chooses a threshold from the scores of all seeds alone.

    Args:
        histogram: Sum of the :func:`score_histogram` of the seeds.
        criterion: A name in :data:`CRITERIA`.
        share: Expected share of foreground pixels, read by ``'foreground_share'``.

    Returns:
        A threshold in (0, 1): pixels above it are foreground.

    Raises:
        ConfigError: An unknown criterion or a share out of range.
        DataError: The seeds have the same score everywhere.
    """
    if criterion not in CRITERIA:
        raise ConfigError(
            f"unknown criterion '{criterion}' of a threshold: "
            f'{near_names(criterion, CRITERIA)}',
            token=criterion,
        )
    return CRITERIA[criterion](histogram, share)


def _sides(histogram: np.ndarray) -> tuple[np.ndarray, slice, np.ndarray]:
    """Share of each bin, the bins with pixels on both sides, cumulative shares.

    Edges with no pixel below or no pixel above are left out.
    """
    used = np.flatnonzero(histogram)
    if len(used) < 2:
        raise DataError(
            'no threshold follows from seeds that score the same everywhere: look at '
            'their pictures, or give the threshold as a number'
        )
    share = histogram / histogram.sum()
    inner = slice(int(used[0]), int(used[-1]))
    return share, inner, share.cumsum()[inner]


def _best_edge(values: np.ndarray, inner: slice, bins: int) -> float:
    """Upper edge of the bin of the highest value, the middle one of a plateau."""
    best = np.flatnonzero(np.isclose(values, values.max(), 1e-12, 0))
    return float((inner.start + best[len(best) // 2] + 1) / bins)
