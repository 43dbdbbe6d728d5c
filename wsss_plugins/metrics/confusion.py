"""Confusion matrices of label maps, and everything that is read off them.

The functions take one matrix ``(L, L)`` or a stack ``(..., L, L)``, rows = ground
truth, columns = prediction, and return fractions in [0, 1]. With TP the diagonal, P
the pixels predicted as a class, T the pixels that are of it, and
``union = P + T - TP``, ``IoU + false positive rate + false negative rate = 1``.
A class for which a ratio is 0 / 0 is NaN; :func:`class_mean` settles what it counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.structures import IGNORE

Absent = Literal['zero', 'nan']


class ClassCounts(NamedTuple):
    """Pixels of each class, three arrays ``(..., L)`` int64."""

    true_positives: np.ndarray
    predicted: np.ndarray
    target: np.ndarray

    @property
    def union(self) -> np.ndarray:
        """Pixels that are of a class or predicted as it, ``(..., L)``."""
        return self.predicted + self.target - self.true_positives


def confusion_matrix(
    prediction: ArrayLike,
    target: ArrayLike,
    num_classes: int,
    ignore_index: int = IGNORE,
) -> np.ndarray:
    """Counts the pixels of every pair of labels.

    Args:
        prediction: Label map ``(H, W)`` of integers.
        target: Ground truth ``(H, W)`` of integers.
        num_classes: L, the number of labels, background counted.
        ignore_index: Ground-truth label of pixels that do not count.

    Returns:
        ``(L, L)`` int64, rows = ground truth.

    Raises:
        DataError: The sizes differ, or a pixel that counts has a label outside 0..L-1.
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    if prediction.shape != target.shape:
        raise DataError(
            f'the prediction has size {prediction.shape}, its ground truth {target.shape}: '
            'both must be of the image'
        )
    valid = target != ignore_index
    rows = _labels(target[valid], num_classes, 'ground truth')
    columns = _labels(prediction[valid], num_classes, 'prediction')
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def _labels(values: np.ndarray, num_classes: int, name: str) -> np.ndarray:
    if values.size and not 0 <= values.min() <= values.max() < num_classes:
        wrong = values[(values < 0) | (values >= num_classes)][0]
        raise DataError(
            f'the {name} has the label {wrong}: allowed are 0 to {num_classes - 1}; '
            'check the number of classes'
        )
    return values.astype(np.int64)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid='ignore'):
        return np.asarray(numerator / denominator)


def class_counts(confusion: np.ndarray) -> ClassCounts:
    """TP, P and T of each class, ``(..., L)`` int64 each."""
    return ClassCounts(
        np.diagonal(confusion, axis1=-2, axis2=-1),
        confusion.sum(-2),
        confusion.sum(-1),
    )


def iou_per_class(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union, ``TP / union``, ``(..., L)``."""
    counts = class_counts(confusion)
    return _ratio(counts.true_positives, counts.union)


def false_positive_rate(confusion: np.ndarray) -> np.ndarray:
    """``(P - TP) / union`` of each class, ``(..., L)`` (Ahn et al., IRNet, 2019)."""
    counts = class_counts(confusion)
    return _ratio(counts.predicted - counts.true_positives, counts.union)


def false_negative_rate(confusion: np.ndarray) -> np.ndarray:
    """``(T - TP) / union`` of each class, ``(..., L)`` (Ahn et al., IRNet, 2019)."""
    counts = class_counts(confusion)
    return _ratio(counts.target - counts.true_positives, counts.union)


def pixel_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of the pixels whose label is right, ``(...)``."""
    counts = class_counts(confusion)
    return _ratio(counts.true_positives.sum(-1), counts.target.sum(-1))


def class_mean(values: np.ndarray, absent: Absent = 'zero') -> np.ndarray:
    """Averages a measure over the classes.

    Args:
        values: ``(..., L)``, NaN for classes found neither in truth nor in prediction.
        absent: What these count: ``'zero'`` 0, as in the released evaluations of
            MCTformer (2022) and ACR (2023); ``'nan'`` nothing, as in IRNet's (2019).

    Returns:
        ``(...)``.

    Raises:
        ConfigError: Another ``absent``.
    """
    if absent not in get_args(Absent):
        raise ConfigError(f"absent must be 'zero' or 'nan', not {absent!r}")
    known = ~np.isnan(values)
    counted = known.sum(-1) if absent == 'nan' else np.asarray(values.shape[-1])
    return _ratio(np.nansum(values, -1), counted)


def mean_iou(confusion: np.ndarray, absent: Absent = 'zero') -> np.ndarray:
    """Mean of :func:`iou_per_class` over the classes, ``(...)``; see :func:`class_mean`."""
    return class_mean(iou_per_class(confusion), absent)


@dataclass(frozen=True, eq=False)
class SegmentationScores:
    """The measures of one confusion matrix, in percent.

    Attributes:
        confusion: ``(L, L)`` int64, rows = ground truth.
        absent: How absent classes count in the means; see :func:`class_mean`.
    """

    confusion: np.ndarray
    absent: Absent = 'zero'

    @property
    def iou(self) -> np.ndarray:
        """IoU of each class, ``(L,)``."""
        return 100 * iou_per_class(self.confusion)

    @property
    def false_positive_rate(self) -> np.ndarray:
        """``(P - TP) / union`` of each class, ``(L,)``."""
        return 100 * false_positive_rate(self.confusion)

    @property
    def false_negative_rate(self) -> np.ndarray:
        """``(T - TP) / union`` of each class, ``(L,)``."""
        return 100 * false_negative_rate(self.confusion)

    @property
    def precision(self) -> np.ndarray:
        """``TP / P`` of each class, ``(L,)``."""
        counts = class_counts(self.confusion)
        return 100 * _ratio(counts.true_positives, counts.predicted)

    @property
    def recall(self) -> np.ndarray:
        """``TP / T`` of each class, ``(L,)``."""
        counts = class_counts(self.confusion)
        return 100 * _ratio(counts.true_positives, counts.target)

    @property
    def miou(self) -> float:
        """Mean IoU."""
        return float(class_mean(self.iou, self.absent))

    @property
    def mean_false_positive_rate(self) -> float:
        """Mean of the false positive rates."""
        return float(class_mean(self.false_positive_rate, self.absent))

    @property
    def mean_false_negative_rate(self) -> float:
        """Mean of the false negative rates."""
        return float(class_mean(self.false_negative_rate, self.absent))

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels whose label is right."""
        return float(100 * pixel_accuracy(self.confusion))

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists for JSON; None stands for 0 / 0."""
        means = ('miou', 'mean_false_positive_rate', 'mean_false_negative_rate')
        scalars = {key: getattr(self, key) for key in (*means, 'pixel_accuracy')}
        classes = ('iou', 'false_positive_rate', 'false_negative_rate')
        per_class = {
            key: [None if np.isnan(v) else float(v) for v in getattr(self, key)]
            for key in (*classes, 'precision', 'recall')
        }
        return {**scalars, **per_class}
