"""mIoU of seeds for every background threshold, in one pass over the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics.confusion import mean_iou
from wsss_plugins.metrics.conventions import DEFAULT_CONVENTION, convention_of
from wsss_plugins.metrics.scores import SegmentationScores
from wsss_plugins.structures import IGNORE

PUBLISHED_THRESHOLDS = tuple(number / 100 for number in range(100))
"""0.00, 0.01 .. 0.99, which published evaluations try."""

FINE_THRESHOLDS = (0.0005, 0.001, 0.002, 0.005)
"""Tried too, since maps that end at exact zeros are cut best between 0 and 0.01, and a
threshold of 0 cannot be scaled."""


def usual_thresholds(convention: str) -> tuple[float, ...]:
    """The thresholds of a sweep whose config gives none.

    Args:
        convention: Name of the evaluation. One that stops early tries the published
            thresholds alone, since where it stops depends on the steps.

    Raises:
        ConfigError: No convention has this name.
    """
    if convention_of(convention).stops_early:
        return PUBLISHED_THRESHOLDS
    return tuple(sorted(PUBLISHED_THRESHOLDS + FINE_THRESHOLDS))


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The results of a threshold sweep.

    Attributes:
        thresholds: ``(T,)`` float64, increasing.
        confusion: ``(T, 1 + C, 1 + C)`` int64, rows = ground truth, background first;
            :func:`~wsss_plugins.metrics.class_counts` gives TP, P and T per threshold.
        convention: Name in :data:`CONVENTIONS` of the evaluation to follow.
        over: Labels that the means are over; all if none is given.
    """

    thresholds: np.ndarray
    confusion: np.ndarray
    convention: str = DEFAULT_CONVENTION
    over: tuple[int, ...] = ()

    @cached_property
    def miou(self) -> np.ndarray:
        """Mean IoU at each threshold, ``(T,)``, percent."""
        averaged = convention_of(self.convention).averaged
        return 100 * mean_iou(self.confusion, averaged, self.over)

    @cached_property
    def _best(self) -> int:
        stops = np.flatnonzero(np.diff(self.miou) <= 0)
        if convention_of(self.convention).stops_early and stops.size:
            return int(stops[0])
        return int(self.miou.argmax())

    @property
    def best_threshold(self) -> float:
        """The threshold of the highest mIoU, the lowest one on ties.

        If the convention stops early, the first threshold that the next one does not
        improve on.
        """
        return float(self.thresholds[self._best])

    @property
    def best_miou(self) -> float:
        """The mIoU at :attr:`best_threshold`, percent."""
        return float(self.miou[self._best])

    @property
    def area_under_curve(self) -> float:
        """Mean height of the curve of mIoU over the thresholds (trapezoids), percent.

        :data:`FINE_THRESHOLDS` do not count beside the published thresholds, so that the
        area is that of a published evaluation.
        """
        usual = len(PUBLISHED_THRESHOLDS) + len(FINE_THRESHOLDS)
        kept = np.ones(len(self.thresholds), bool)
        if len(kept) == usual:
            kept = ~np.isin(self.thresholds, FINE_THRESHOLDS)
        miou, steps = self.miou[kept], np.diff(self.thresholds[kept])
        if not steps.size:
            return self.best_miou
        heights = (miou[1:] + miou[:-1]) / 2
        return float(heights @ steps / steps.sum())

    @property
    def best(self) -> SegmentationScores:
        """All measures at :attr:`best_threshold`."""
        return self.at(self.best_threshold)

    def at(self, threshold: float) -> SegmentationScores:
        """All measures at one threshold.

        Raises:
            ConfigError: The threshold is not one of the sweep.
        """
        found = np.flatnonzero(np.isclose(self.thresholds, threshold, 0, 1e-9))
        if not found.size:
            raise ConfigError(
                f'threshold {threshold} was not swept: take one of the {len(self.thresholds)} '
                f'from {self.thresholds[0]:g} to {self.thresholds[-1]:g}, or sweep it too'
            )
        return SegmentationScores(
            self.confusion[found[0]], self.convention, over=self.over
        )

    def nearest(self, threshold: float) -> float:
        """The swept threshold that is nearest to a given one."""
        return float(self.thresholds[np.abs(self.thresholds - threshold).argmin()])

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists for JSON: the curve, and ``best``, the measures at its top."""
        return dict(
            best_threshold=self.best_threshold,
            best_miou=self.best_miou,
            area_under_curve=self.area_under_curve,
            best=self.best.to_dict(),
            thresholds=self.thresholds.tolist(),
            miou=self.miou.tolist(),
        )


class SeedIoU:
    """Accumulates seeds against ground truth; evaluates every threshold at once.

    At threshold t a pixel is the strongest class if its score exceeds t, compared in
    float32, else background; ties between classes go to the lower id. This is the
    convention of the released evaluations of MCTformer (2022) and ACR (2023): an
    argmax over the constant t and the class maps, absent classes being 0. The winning
    class does not depend on t, so one histogram over (ground truth, winner, number of
    thresholds exceeded) holds all confusion matrices.

    Args:
        num_foreground: C, the number of classes, background not counted.
        thresholds: Background thresholds >= 0, increasing; 0.00, 0.01 .. 0.99 by default.

    Attributes:
        histogram: ``(1 + C, C, T + 1)`` int64. It is additive: workers may sum it.

    Raises:
        ConfigError: ``thresholds`` is empty, has a negative or infinite value, or does not
            increase.
    """

    def __init__(
        self, num_foreground: int, thresholds: Sequence[float] | None = None
    ) -> None:
        self.num_foreground = num_foreground
        self.thresholds = np.asarray(
            np.arange(100) / 100 if thresholds is None else thresholds, np.float64
        )
        steps = np.diff(self.thresholds)
        sound = self.thresholds.size and (self.thresholds >= 0).all()
        sound = sound and np.isfinite(self.thresholds).all()
        if not sound or not (steps > 0).all():
            raise ConfigError(
                f'thresholds must be >= 0 and increase, at least one, not {thresholds!r}'
            )
        shape = (1 + num_foreground, num_foreground, 1 + len(self.thresholds))
        self.histogram = np.zeros(shape, np.int64)
        self._exceeded = _Exceeded(self.thresholds)

    def update(self, scores: ArrayLike, classes: ArrayLike, target: ArrayLike) -> None:
        """Adds one image.

        Args:
            scores: ``(K, H, W)`` maps of the classes that the image shows.
            classes: ``(K,)`` their foreground ids, 0..C-1.
            target: ``(H, W)`` ground truth: 0 background, c + 1 class c, 255 ignored.

        Raises:
            DataError: The shapes do not match, a class or label is unknown, or a score
                is not finite.
        """
        scores, classes = np.asarray(scores, np.float32), np.asarray(classes, np.int64)
        target = np.asarray(target)
        self._check(scores, classes, target)
        winner, exceeded = self._winners(
            scores.reshape(len(scores), target.size), classes
        )
        rows, columns, bins = self.histogram.shape
        # Ignored pixels are counted in an extra row, which is faster than selecting the others.
        row = np.where(target == IGNORE, rows, target).astype(np.int32).ravel()
        cell = (row * columns + winner) * bins + exceeded
        counts = np.bincount(cell, minlength=self.histogram.size)
        self.histogram += counts[: self.histogram.size].reshape(self.histogram.shape)

    def _winners(
        self, scores: np.ndarray, classes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Strongest class, and how many thresholds it exceeds, ``(N,)`` from ``(K, N)``."""
        best = np.zeros(scores.shape[1], np.float32)
        winner = np.zeros(scores.shape[1], np.int32)
        for k in np.argsort(classes):
            stronger = scores[k] > best
            np.copyto(best, scores[k], where=stronger)
            np.copyto(winner, classes[k], where=stronger, casting='unsafe')
        return winner, self._exceeded(best)

    def _check(
        self, scores: np.ndarray, classes: np.ndarray, target: np.ndarray
    ) -> None:
        if scores.shape != (*classes.shape, *target.shape) or scores.ndim != 3:
            raise DataError(
                'scores (K, H, W), classes (K,) and ground truth (H, W) must fit, not '
                f'{scores.shape}, {classes.shape} and {target.shape}'
            )
        top = self.num_foreground
        if classes.size and not 0 <= classes.min() <= classes.max() < top:
            raise DataError(
                f'a seed has the classes {classes.tolist()}: allowed are 0 to {top - 1}'
            )
        infinite = ~np.isfinite(scores).all((1, 2))
        if infinite.any():
            raise DataError(
                f'the scores of class {classes[infinite][0]} are not finite: make the '
                'seeds again'
            )
        wrong = target[((target > top) & (target != IGNORE)) | (target < 0)]
        if wrong.size:
            raise DataError(
                f'the ground truth has the label {wrong[0]}: allowed are 0 to {top} and '
                f'{IGNORE} (ignored); check the number of classes'
            )

    def merge(self, other: SeedIoU) -> None:
        """Adds the counts of another accumulator.

        Raises:
            ConfigError: ``other`` has other classes or thresholds.
        """
        if self.num_foreground != other.num_foreground or not np.array_equal(
            self.thresholds, other.thresholds
        ):
            raise ConfigError(
                'only sweeps of the same classes and thresholds can be merged: '
                f'{self.num_foreground} and {other.num_foreground} classes, '
                f'{len(self.thresholds)} and {len(other.thresholds)} thresholds'
            )
        self.histogram += other.histogram

    def compute(
        self, convention: str = DEFAULT_CONVENTION, over: tuple[int, ...] = ()
    ) -> SweepResult:
        """Reads the confusion matrix of every threshold off the histogram.

        Args:
            convention: See :class:`SweepResult`.
            over: See :class:`SweepResult`.

        Raises:
            ConfigError: ``convention`` is unknown.
            DataError: No pixel was added that is not ignored.
        """
        convention_of(convention)
        if not self.histogram.any():
            raise DataError(
                'no pixel to evaluate: the id list is empty, or every mask is ignored'
            )
        at_least = self.histogram[..., ::-1].cumsum(-1)[..., ::-1]
        foreground = at_least[..., 1:]  # (1 + C, C, T): exceeded threshold t
        background = self.histogram.sum((1, 2))[:, None] - foreground.sum(1)
        confusion = np.concatenate([background[:, None], foreground], axis=1)
        matrices = np.moveaxis(confusion, -1, 0)
        return SweepResult(self.thresholds, matrices, convention, over)


class _Exceeded:
    """How many thresholds each score exceeds: ``np.searchsorted`` by table, 3x as fast.

    Scores fall into cells so small that none holds two thresholds. A product by a
    constant keeps the order, rounding included: thresholds in lower cells are exceeded,
    those in higher cells are not, and the one in the same cell is compared with.

    Args:
        thresholds: ``(T,)`` >= 0, increasing.
    """

    def __init__(self, thresholds: np.ndarray) -> None:
        self.thresholds = thresholds.astype(np.float32)
        gap = np.diff(thresholds).min(initial=1)
        self.limit = np.float32(thresholds[-1] + 2 * gap)
        self.scale = np.float32(2 / gap)
        cells = (self.thresholds * self.scale).astype(np.int64)
        count = int(self.limit * self.scale) + 1
        self.fits = count < 2**16 and len(np.unique(cells)) == len(cells)
        if self.fits:
            self.lower = np.searchsorted(cells, np.arange(count)).astype(np.int32)
            self.own = np.full(count, np.inf, np.float32)
            self.own[cells] = self.thresholds

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """``(N,)`` integers in 0..T from float32 scores ``(N,)`` >= 0."""
        if not self.fits:
            return np.searchsorted(self.thresholds, scores)
        cells = (np.minimum(scores, self.limit) * self.scale).astype(np.int32)
        return self.lower.take(cells) + (scores > self.own.take(cells))
