"""All measures of one confusion matrix, by the convention of a published evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsss_plugins.metrics.confusion import (
    ClassCounts,
    class_counts,
    class_mean,
    false_negative_rate,
    false_positive_rate,
    frequency_weighted_iou,
    iou_per_class,
    mean_iou,
    mean_of_ious,
    pixel_accuracy,
    ratio,
)
from wsss_plugins.metrics.conventions import (
    DEFAULT_CONVENTION,
    Convention,
    convention_of,
)


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """The measures of one confusion matrix, in percent.

    Attributes:
        confusion: ``(L, L)`` int64, rows = ground truth, background first.
        convention: Name in :data:`CONVENTIONS` of the evaluation that defines how means
            and error rates are computed.
        boundary: :func:`boundary_counts` of the label maps, when they were counted.
        over: Labels that the means are over, in increasing order; all if none is given.

    Raises:
        ConfigError: ``convention`` is unknown.
    """

    confusion: np.ndarray
    convention: str = DEFAULT_CONVENTION
    boundary: ClassCounts | None = None
    over: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuses an unknown convention.

        Raises:
            ConfigError: There is no convention of that name.
        """
        convention_of(self.convention)

    @property
    def _rules(self) -> Convention:
        return convention_of(self.convention)

    @property
    def iou(self) -> np.ndarray:
        """IoU of each class, ``(L,)``."""
        return 100 * iou_per_class(self.confusion)

    @property
    def false_positive_rate(self) -> np.ndarray:
        """``(P - TP) / union`` of each class, or ``/ TP`` by the convention, ``(L,)``."""
        return 100 * false_positive_rate(self.confusion, self._rules.errors_per)

    @property
    def false_negative_rate(self) -> np.ndarray:
        """``(T - TP) / union`` of each class, or ``/ TP`` by the convention, ``(L,)``."""
        return 100 * false_negative_rate(self.confusion, self._rules.errors_per)

    @property
    def precision(self) -> np.ndarray:
        """``TP / P`` of each class, ``(L,)``."""
        counts = class_counts(self.confusion)
        return 100 * ratio(counts.true_positives, counts.predicted)

    @property
    def recall(self) -> np.ndarray:
        """``TP / T`` of each class, ``(L,)``."""
        counts = class_counts(self.confusion)
        return 100 * ratio(counts.true_positives, counts.target)

    @property
    def averaged_classes(self) -> int:
        """Number of classes in the mean IoU, according to the convention."""
        counts, averaged = class_counts(self.confusion), self._rules.averaged
        if averaged == 'all':
            return len(self._chosen(counts.union))
        pixels = counts.target if averaged == 'target' else counts.union
        return int((self._chosen(pixels) > 0).sum())

    @property
    def absent_classes(self) -> int:
        """Number of classes with no pixel in either the ground truth or the prediction."""
        return int((self._chosen(class_counts(self.confusion).union) == 0).sum())

    @property
    def miou(self) -> float:
        """Mean IoU."""
        return float(100 * mean_iou(self.confusion, self._rules.averaged, self.over))

    @property
    def mean_false_positive_rate(self) -> float:
        """Mean of the false positive rates."""
        return self._mean_errors(self.false_positive_rate)

    @property
    def mean_false_negative_rate(self) -> float:
        """Mean of the false negative rates."""
        return self._mean_errors(self.false_negative_rate)

    @property
    def mean_precision(self) -> float:
        """Mean precision of the classes that are predicted."""
        return float(class_mean(self._chosen(self.precision), 'found'))

    @property
    def mean_recall(self) -> float:
        """Mean recall of the classes in the ground truth: the mean accuracy."""
        return float(class_mean(self._chosen(self.recall), 'found'))

    @property
    def over_activation(self) -> float:
        """SEAM's mFP: mean of ``(P - TP) / TP`` over the foreground classes hit."""
        rates = self._chosen(false_positive_rate(self.confusion, 'hit'), True)
        return float(100 * class_mean(rates, 'found'))

    @property
    def under_activation(self) -> float:
        """SEAM's mFN: mean of ``(T - TP) / TP`` over the foreground classes hit."""
        rates = self._chosen(false_negative_rate(self.confusion, 'hit'), True)
        return float(100 * class_mean(rates, 'found'))

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels whose label is right."""
        return float(100 * pixel_accuracy(self.confusion))

    @property
    def frequency_weighted_iou(self) -> float:
        """Mean IoU weighted by the pixels of each class."""
        return float(100 * frequency_weighted_iou(self.confusion))

    @property
    def boundary_iou(self) -> np.ndarray:
        """Boundary IoU of each class, ``(L,)``; NaN where it was not counted."""
        if self.boundary is None:
            return np.full(len(self.confusion), np.nan)
        return 100 * ratio(self.boundary.true_positives, self.boundary.union)

    @property
    def boundary_miou(self) -> float:
        """Mean boundary IoU; NaN where it was not counted."""
        if self.boundary is None:
            return float('nan')
        return float(100 * mean_of_ious(self.boundary, self._rules.averaged, self.over))

    def _mean_errors(self, rates: np.ndarray) -> float:
        """Mean of error rates; a class without true positives has no rate per hit."""
        rules = self._rules
        averaged = 'found' if rules.errors_per == 'hit' else rules.averaged
        return float(
            class_mean(self._chosen(rates, not rules.background_errors), averaged)
        )

    def _chosen(self, values: np.ndarray, foreground: bool = False) -> np.ndarray:
        """The values ``(L,)`` of the labels that means are over."""
        labels = self.over or range(len(values))
        return values[[label for label in labels if label or not foreground]]

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists for JSON, :data:`MEANS` and :data:`PER_CLASS`; None is 0 / 0."""
        means = {key: _plain(getattr(self, key)) for key in MEANS}
        lists = {key: list(map(_plain, getattr(self, key))) for key in PER_CLASS}
        over: dict[str, Any] = dict(
            averaged_classes=self.averaged_classes, absent_classes=self.absent_classes
        )
        if self.over:
            over['over'] = list(self.over)
        return dict(convention=self.convention, **over, **means, **lists)

    def table(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """One row per class: its name and :data:`PER_CLASS`, None for 0 / 0.

        Args:
            classes: L names, background first.
        """
        columns = [map(_plain, getattr(self, key)) for key in PER_CLASS]
        return [
            dict(zip(('class', *PER_CLASS), row, strict=True))
            for row in zip(classes, *columns, strict=True)
        ]


PER_CLASS = (
    'iou',
    'false_positive_rate',
    'false_negative_rate',
    'precision',
    'recall',
    'boundary_iou',
)
"""Measures of each class."""

MEANS = (
    'miou',
    'mean_false_positive_rate',
    'mean_false_negative_rate',
    'over_activation',
    'under_activation',
    'mean_precision',
    'mean_recall',
    'pixel_accuracy',
    'frequency_weighted_iou',
    'boundary_miou',
)
"""Measures of the whole label maps."""


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
