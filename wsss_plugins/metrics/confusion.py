"""Confusion matrices of label maps, and the measures that follow from them.

The functions take one matrix ``(L, L)`` or a stack ``(..., L, L)``, rows = ground
truth, columns = prediction, and return fractions in [0, 1]. With TP the diagonal, P
the pixels predicted as a class, T the pixels that are of it, and
``union = P + T - TP``, ``IoU + false positive rate + false negative rate = 1`` where the
errors are divided by the union.
A ratio of 0 / 0 is NaN; :func:`class_mean` defines how such classes count.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics.conventions import Averaged, ErrorsPer
from wsss_plugins.structures import IGNORE, atomic_path, save_npz


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
        ignore_index: Ground-truth label of pixels that are ignored.

    Returns:
        ``(L, L)`` int64, rows = ground truth.

    Raises:
        DataError: The sizes differ, or a pixel that is not ignored has a label outside
            0..L-1.
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


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, NaN for 0 / 0."""
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
    return ratio(counts.true_positives, counts.union)


def false_positive_rate(confusion: np.ndarray, per: ErrorsPer = 'union') -> np.ndarray:
    """False positives of each class, ``(P - TP) / union``, ``(..., L)``.

    Args:
        confusion: ``(..., L, L)``.
        per: ``'union'`` as in Ahn et al. (IRN, 2019), or ``'hit'``: ``(P - TP) / TP`` as
            in Wang et al. (SEAM, 2020), NaN for a class that is never hit.
    """
    counts = class_counts(confusion)
    return _error_rate(counts.predicted - counts.true_positives, counts, per)


def false_negative_rate(confusion: np.ndarray, per: ErrorsPer = 'union') -> np.ndarray:
    """False negatives of each class, ``(T - TP) / union`` or ``/ TP``, ``(..., L)``.

    Args:
        confusion: ``(..., L, L)``.
        per: See :func:`false_positive_rate`.
    """
    counts = class_counts(confusion)
    return _error_rate(counts.target - counts.true_positives, counts, per)


def _error_rate(errors: np.ndarray, counts: ClassCounts, per: ErrorsPer) -> np.ndarray:
    if per == 'union':
        return ratio(errors, counts.union)
    hits = counts.true_positives
    return ratio(errors, np.where(hits > 0, hits, np.nan))


def pixel_accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of the pixels whose label is right, ``(...)``."""
    counts = class_counts(confusion)
    return ratio(counts.true_positives.sum(-1), counts.target.sum(-1))


def frequency_weighted_iou(confusion: np.ndarray) -> np.ndarray:
    """Mean IoU weighted by the pixels of each class in the ground truth, ``(...)``."""
    counts = class_counts(confusion)
    weighted = np.nan_to_num(iou_per_class(confusion)) * counts.target
    return ratio(weighted.sum(-1), counts.target.sum(-1))


def class_mean(values: np.ndarray, averaged: Averaged = 'all') -> np.ndarray:
    """Averages a measure over the classes.

    Args:
        values: ``(..., L)``, NaN for classes without a value.
        averaged: ``'all'``: classes without a value count as 0, as in the released
            evaluations of MCTformer (2022) and ACR (2023); otherwise they are left out.

    Returns:
        ``(...)``.

    Raises:
        ConfigError: ``averaged`` is unknown.
    """
    if averaged not in get_args(Averaged):
        raise ConfigError(
            f'averaged must be one of {get_args(Averaged)}, not {averaged!r}'
        )
    known = ~np.isnan(values)
    counted = np.asarray(values.shape[-1]) if averaged == 'all' else known.sum(-1)
    return ratio(np.nansum(values, -1), counted)


def mean_iou(
    confusion: np.ndarray, averaged: Averaged = 'all', over: Sequence[int] = ()
) -> np.ndarray:
    """Mean of :func:`iou_per_class` over the classes, ``(...)``.

    Args:
        confusion: ``(..., L, L)``.
        over: The labels that the mean is over, in 0..L-1; all if none is given. Pixels of
            other labels still count as errors of those that they are taken for.
        averaged: ``'all'``: absent classes count as 0; ``'found'``: classes in ground
            truth or prediction (IRN, mmsegmentation); ``'target'``: those in ground
            truth (DeepLab).
    """
    return mean_of_ious(class_counts(confusion), averaged, over)


def mean_of_ious(
    counts: ClassCounts, averaged: Averaged, over: Sequence[int] = ()
) -> np.ndarray:
    """Mean of ``TP / union`` over the classes, ``(...)``; see :func:`mean_iou`."""
    iou = ratio(counts.true_positives, counts.union)
    if averaged == 'target':
        iou = np.where(counts.target > 0, iou, np.nan)
    return class_mean(iou[..., list(over)] if over else iou, averaged)


def save_confusion(folder: Path, confusion: np.ndarray, classes: Sequence[str]) -> None:
    """Writes a confusion matrix as ``confusion.npz`` and ``confusion.csv``.

    The arrays are ``confusion`` ``(L, L)`` and ``classes`` ``(L,)``. The table has a line
    for each class of the ground truth and a column for each predicted one, in pixels.

    Args:
        folder: Where to write.
        confusion: ``(L, L)`` int64, rows = ground truth.
        classes: L names, background first.

    Raises:
        DataError: The number of names is not the size of the matrix.
    """
    if confusion.shape != (len(classes), len(classes)):
        raise DataError(
            f'a confusion matrix of shape {confusion.shape} does not fit '
            f'{len(classes)} classes: name them all, background first'
        )
    arrays = dict(confusion=confusion, classes=np.array(classes, dtype=np.str_))
    save_npz(folder / 'confusion.npz', arrays)
    rows = [[name, *row] for name, row in zip(classes, confusion.tolist(), strict=True)]
    with (
        atomic_path(folder / 'confusion.csv') as part,
        part.open('w', newline='', encoding='utf-8') as file,
    ):
        table = csv.writer(file, lineterminator='\n')
        table.writerows([['ground truth', *classes], *rows])
