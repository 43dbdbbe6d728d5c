"""Relevance maps as segmentations: the ImageNet-Segmentation protocol.

Source: Chefer et al., Transformer Interpretability Beyond Attention Visualization,
CVPR 2021, section 4 and the released evaluation. Labels are 0 background,
1 foreground and -1 ignored. A map is min-max normalised; pixels above its mean are
foreground. Three quirks of the released evaluation are kept, each documented at its
function: the F1 of image rows, both channels in one AP, and blank maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike

from wsss_plugins.errors import DataError
from wsss_plugins.metrics.confusion import confusion_matrix
from wsss_plugins.metrics.multilabel_ap import average_precision
from wsss_plugins.metrics.per_image import PerImage, mean_over_images
from wsss_plugins.metrics.scores import SegmentationScores

IGNORED = -1
CURVE_LEVELS = 256
"""Steps of the pooled curve; a power of two, so that score * levels is exact."""


def resize_map(relevance: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """Brings a map of patches ``(h, w)`` to ``size`` = ``(H, W)``, bilinear.

    Half-pixel centres (``align_corners=False``), as Chefer et al. do by a factor of 16.
    """
    maps = torch.from_numpy(_floating(relevance))[None, None]
    scaled = F.interpolate(maps, size=size, mode='bilinear', align_corners=False)
    return scaled[0, 0].numpy()


def normalise_map(relevance: ArrayLike) -> np.ndarray:
    """Scales ``(H, W)`` to [0, 1] by its minimum and maximum.

    A float32 map stays float32, as in the released evaluation: the rounding of ``1 -
    x`` creates ties that change an AP by about 1e-4.

    Returns:
        ``(H, W)``; NaN everywhere for a blank map: one that is constant or that has
        values that are not finite.
    """
    relevance = _floating(relevance)
    low, high = relevance.min(), relevance.max()
    if not 0 < high - low < np.inf:
        return np.full_like(relevance, np.nan)
    return (relevance - low) / (high - low)


def _floating(values: ArrayLike) -> np.ndarray:
    array = np.ascontiguousarray(values)
    return array if array.dtype == np.float32 else array.astype(np.float64)


def segmentation_ap(scores: ArrayLike, label: ArrayLike) -> float:
    """Average precision of all channels of one image in one list.

    Quirk of the released evaluation: background and foreground are not evaluated as
    separate classes. All entries of the channels are ranked together against the
    one-hot labels, so an image always has positives, and the AP of a random ranking is
    1 / L.

    Args:
        scores: ``(L, H, W)``, the score of each label at each pixel.
        label: ``(H, W)`` in 0..L-1, and -1 for ignored pixels.

    Returns:
        A fraction in [0, 1].
    """
    scores, label = np.asarray(scores), np.asarray(label)
    valid = label != IGNORED
    targets = np.arange(len(scores))[:, None] == label[valid]
    return average_precision(scores[:, valid].ravel(), targets.ravel())


def f1_score(
    foreground: ArrayLike, label: ArrayLike, by_row: bool = False
) -> np.ndarray:
    """F1 of the foreground, ``2 TP / (P + T)``, and 0 where it is 0 / 0.

    Args:
        foreground: ``(H, W)`` bool, the prediction.
        label: ``(H, W)`` in {0, 1}, and -1 for ignored pixels.
        by_row: Quirk of the released evaluation: it treats the rows of an image as
            images, so its F1 is that of each row. Rows that are ignored completely are
            left out.

    Returns:
        The F1 of the image, ``()``, or of its rows, ``(H,)``; fractions in [0, 1].
    """
    label = np.asarray(label)
    axes, valid = (1 if by_row else (0, 1)), label != IGNORED
    predicted, truth = np.asarray(foreground) & valid, label == 1
    hits = (predicted & truth).sum(axes)
    total = predicted.sum(axes) + truth.sum(axes)
    f1 = 2 * hits / np.maximum(total, 1)
    return f1[valid.any(1)] if by_row else f1


def precision_recall(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of ``score >= t`` for every threshold t.

    Equals scikit-learn's ``precision_recall_curve``, including its last point (1, 0).
    Where nothing is predicted the precision is 1; without positives the recall is NaN.

    Args:
        counts: ``(2, T)`` negatives and positives with each score, scores increasing.

    Returns:
        Precision and recall, ``(T + 1,)`` each, fractions in [0, 1].
    """
    negatives, positives = np.append(counts[:, ::-1].cumsum(1)[:, ::-1], [[0]] * 2, 1)
    with np.errstate(invalid='ignore'):
        precision = positives / (positives + negatives)
        recall = positives / positives[0]
    return np.where(positives + negatives == 0, 1, precision), recall


@dataclass(frozen=True, eq=False)
class ExplanationScores:
    """The measures of the protocol, in percent; the curve in fractions.

    Attributes:
        images: Number of images that were evaluated.
        blank: Number of maps that were constant or not finite.
        segmentation: Pixel accuracy, IoU and mIoU of all pixels together.
        mean_ap: Mean over images of :func:`segmentation_ap`.
        mean_f1: Mean over images of their F1.
        mean_row_f1: The mF1 of the released evaluation; see :func:`f1_score`.
        precision: Precision over all pixels at the scores 0, 1/256 .. 1, with a final
            1, ``(258,)``: exact points of the full curve.
        recall: Recall at the same scores, with a final 0, ``(258,)``.
    """

    images: int
    blank: int
    segmentation: SegmentationScores
    mean_ap: float
    mean_f1: float
    mean_row_f1: float
    precision: np.ndarray
    recall: np.ndarray

    @property
    def pooled_ap(self) -> float:
        """Stepwise area under the curve; the steps are those of :attr:`precision`."""
        return float(-100 * (np.diff(self.recall) * self.precision[:-1]).sum())

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists for JSON; None stands for 0 / 0."""
        means = ('mean_ap', 'mean_f1', 'mean_row_f1', 'pooled_ap')
        numbers = {key: getattr(self, key) for key in ('images', 'blank', *means)}
        found = self.segmentation.to_dict()
        numbers |= {key: found[key] for key in ('pixel_accuracy', 'miou', 'iou')}
        numbers |= dict(precision=self.precision.tolist(), recall=self.recall.tolist())
        return {key: _without_nan(value) for key, value in numbers.items()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if value is not None and np.isnan(value) else value


class ExplanationSegmentation(PerImage):
    """Accumulates relevance maps against foreground labels.

    A blank map (constant or not finite) is background everywhere and has the score 0 in
    both channels, so its AP is 0.5 and its F1 is 0, as in the released evaluation. The
    pooled curve of the released evaluation then raises an error; here such scores enter
    the curve as 0.
    """

    def __init__(self) -> None:
        super().__init__(
            dict(
                confusion=(2, 2),
                average_precision=(),
                f1=(),
                row_f1=(),
                curve=(2, 1 + CURVE_LEVELS),
                blank=(),
            )
        )

    def update(self, relevance: ArrayLike, label: ArrayLike) -> None:
        """Adds one image.

        Args:
            relevance: ``(H, W)`` of the size of the labels; see :func:`resize_map`.
            label: ``(H, W)``: 0 background, 1 foreground, -1 ignored.

        Raises:
            DataError: The sizes differ, a label is unknown, or all pixels are ignored.
        """
        relevance, label = np.asarray(relevance), np.asarray(label)
        _check(relevance, label)
        scores = normalise_map(relevance)
        foreground = scores > scores.mean()
        channels = np.nan_to_num(np.stack([1 - scores, scores]))
        self.load(
            dict(
                confusion=confusion_matrix(foreground, label, 2, IGNORED)[None],
                average_precision=[segmentation_ap(channels, label)],
                f1=[f1_score(foreground, label)],
                row_f1=[f1_score(foreground, label, by_row=True).mean()],
                curve=_curve_counts(channels[1], label)[None],
                blank=[bool(np.isnan(scores).any())],
            )
        )

    def compute(self) -> ExplanationScores:
        """Averages over the images.

        Raises:
            DataError: No image was added.
        """
        rows = self.state()
        precision, recall = precision_recall(rows['curve'].sum(0))
        return ExplanationScores(
            images=len(self),
            blank=int(rows['blank'].sum()),
            segmentation=SegmentationScores(rows['confusion'].sum(0)),
            mean_ap=100 * float(mean_over_images(rows['average_precision'])),
            mean_f1=100 * float(mean_over_images(rows['f1'])),
            mean_row_f1=100 * float(mean_over_images(rows['row_f1'])),
            precision=precision,
            recall=recall,
        )


def _curve_counts(scores: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Pixels of background and foreground with each score, ``(2, 1 + levels)``."""
    valid, bins = label != IGNORED, 1 + CURVE_LEVELS
    level = np.floor(scores[valid] * CURVE_LEVELS).astype(np.int64)
    cells = label[valid].astype(np.int64) * bins + level
    return np.bincount(cells, minlength=2 * bins).reshape(2, bins)


def _check(relevance: np.ndarray, label: np.ndarray) -> None:
    if relevance.shape != label.shape or label.ndim != 2:
        raise DataError(
            f'the relevance map has size {relevance.shape}, its labels {label.shape}: '
            'both must be (H, W) of the same size, see resize_map'
        )
    wrong = label[~np.isin(label, (IGNORED, 0, 1))]
    if wrong.size:
        raise DataError(
            f'the labels hold {wrong[0]}: allowed are 0 (background), 1 (foreground) '
            f'and {IGNORED} (ignored)'
        )
    if not (label != IGNORED).any():
        raise DataError('every pixel of the labels is ignored: leave the image out')
