"""mIoU of seeds for every background threshold, in one pass over the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics.confusion import Absent, SegmentationScores, mean_iou
from wsss_plugins.structures import IGNORE


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a threshold sweep found.

    Attributes:
        thresholds: ``(T,)`` float64, increasing.
        confusion: ``(T, 1 + C, 1 + C)`` int64, rows = ground truth, background first;
            :func:`~wsss_plugins.metrics.class_counts` gives TP, P and T per threshold.
        absent: How absent classes count; see :func:`~wsss_plugins.metrics.class_mean`.
    """

    thresholds: np.ndarray
    confusion: np.ndarray
    absent: Absent = 'zero'

    @cached_property
    def miou(self) -> np.ndarray:
        """Mean IoU at each threshold, ``(T,)``, percent."""
        return 100 * mean_iou(self.confusion, self.absent)

    @property
    def best_threshold(self) -> float:
        """The threshold of the highest mIoU, the lowest one on ties."""
        return float(self.thresholds[self.miou.argmax()])

    @property
    def best_miou(self) -> float:
        """The highest mIoU, percent."""
        return float(self.miou.max())

    @property
    def best(self) -> SegmentationScores:
        """All measures at :attr:`best_threshold`."""
        return self.at(self.best_threshold)

    def at(self, threshold: float) -> SegmentationScores:
        """All measures at one threshold.

        Raises:
            ConfigError: The sweep did not try it.
        """
        found = np.flatnonzero(np.isclose(self.thresholds, threshold, 0, 1e-9))
        if not found.size:
            raise ConfigError(
                f'threshold {threshold} was not swept: take one of the {len(self.thresholds)} '
                f'from {self.thresholds[0]:g} to {self.thresholds[-1]:g}, or sweep it too'
            )
        return SegmentationScores(self.confusion[found[0]], self.absent)

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists for JSON: the curve, and ``best``, the measures at its top."""
        return dict(
            best_threshold=self.best_threshold,
            best_miou=self.best_miou,
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
        ConfigError: No threshold, a negative one, or thresholds that do not increase.
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
        if not sound or not (steps > 0).all():
            raise ConfigError(
                f'thresholds must be >= 0 and increase, at least one, not {thresholds!r}'
            )
        shape = (1 + num_foreground, num_foreground, 1 + len(self.thresholds))
        self.histogram = np.zeros(shape, np.int64)

    def update(self, scores: ArrayLike, classes: ArrayLike, target: ArrayLike) -> None:
        """Adds one image.

        Args:
            scores: ``(K, H, W)`` maps of the classes that the image shows.
            classes: ``(K,)`` their foreground ids, 0..C-1.
            target: ``(H, W)`` ground truth: 0 background, c + 1 class c, 255 ignored.

        Raises:
            DataError: Shapes that do not fit, an unknown class or label, or scores that
                are not finite.
        """
        scores, classes = np.asarray(scores, np.float32), np.asarray(classes, np.int64)
        target = np.asarray(target)
        self._check(scores, classes, target)
        valid = target != IGNORE
        winner, exceeded = self._winners(scores[:, valid], classes)
        cell = np.ravel_multi_index(
            (target[valid].astype(np.int64), winner, exceeded), self.histogram.shape
        )
        counts = np.bincount(cell, minlength=self.histogram.size)
        self.histogram += counts.reshape(self.histogram.shape)

    def _winners(
        self, scores: np.ndarray, classes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Strongest class, and how many thresholds it exceeds, ``(N,)`` from ``(K, N)``."""
        best = np.zeros(scores.shape[1], np.float32)
        winner = np.zeros(scores.shape[1], np.int64)
        for k in np.argsort(classes):
            if not np.isfinite(scores[k]).all():
                raise DataError(
                    f'the scores of class {classes[k]} are not finite: make the seeds again'
                )
            stronger = scores[k] > best
            best = np.where(stronger, scores[k], best)
            winner = np.where(stronger, classes[k], winner)
        return winner, np.searchsorted(self.thresholds.astype(np.float32), best)

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
        wrong = target[((target > top) & (target != IGNORE)) | (target < 0)]
        if wrong.size:
            raise DataError(
                f'the ground truth has the label {wrong[0]}: allowed are 0 to {top} and '
                f'{IGNORE} (ignored); check the number of classes'
            )

    def merge(self, other: SeedIoU) -> None:
        """Adds what another accumulator has seen.

        Raises:
            ConfigError: It has other classes or thresholds.
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

    def compute(self, absent: Absent = 'zero') -> SweepResult:
        """Reads the confusion matrix of every threshold off the histogram.

        Raises:
            DataError: Nothing was added that counts.
        """
        if not self.histogram.any():
            raise DataError(
                'no pixel to evaluate: the id list is empty, or every mask is ignored'
            )
        at_least = self.histogram[..., ::-1].cumsum(-1)[..., ::-1]
        foreground = at_least[..., 1:]  # (1 + C, C, T): exceeded threshold t
        background = self.histogram.sum((1, 2))[:, None] - foreground.sum(1)
        confusion = np.concatenate([background[:, None], foreground], axis=1)
        return SweepResult(self.thresholds, np.moveaxis(confusion, -1, 0), absent)
