"""Average precision of image-level predictions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from numpy.typing import ArrayLike

from wsss_plugins.errors import DataError
from wsss_plugins.registry import METRICS


def average_precision(scores: ArrayLike, targets: ArrayLike) -> float:
    """Area under the stepwise precision-recall curve, ``sum (R_n - R_n-1) P_n``.

    The curve is not interpolated (Zhu, 2004), as in scikit-learn's
    ``average_precision_score``. Images of equal score are added together, so their
    order does not matter.

    Args:
        scores: ``(N,)``, higher is more certain.
        targets: ``(N,)`` in {0, 1}.

    Returns:
        A fraction in [0, 1]; NaN without any positive.

    Raises:
        DataError: The shapes differ or a score is not finite.
    """
    scores, positive = np.asarray(scores, np.float64), np.asarray(targets) > 0
    if scores.ndim != 1 or scores.shape != positive.shape:
        raise DataError(
            f'scores and targets must both be (N,), not {scores.shape} and {positive.shape}'
        )
    if not np.isfinite(scores).all():
        raise DataError(
            'a predicted score is not finite: the training diverged, lower the learning rate'
        )
    if not positive.any():
        return float('nan')
    order = np.argsort(-scores, kind='stable')
    group_end = np.append(np.diff(scores[order]) != 0, True)
    hits = positive[order].cumsum()[group_end]
    precision = hits / (np.flatnonzero(group_end) + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


@METRICS.register_module()
class MultiLabelAP(BaseMetric):
    """Average precision of each class over the images, and their mean in percent.

    Reads ``pred_score`` ``(C,)`` and ``gt_label`` ``(C,)`` in {0, 1} of each data
    sample. The mean runs over the classes that have positives.

    Args:
        per_class: Also report ``AP/<class>`` of each class that has positives; the
            names are those of the data set.
        collect_device: Where workers exchange results, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the names of the results.
    """

    default_prefix = 'multilabel'

    def __init__(
        self,
        per_class: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.per_class = per_class

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps the scores and labels of one batch."""
        for sample in data_samples:
            self.results.append((_row(sample['pred_score']), _row(sample['gt_label'])))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes ``mAP``, and ``AP/<class>`` with ``per_class``, in percent.

        Beside them are ``classes``, how many have positives, and ``images``.

        Args:
            results: Pairs of scores and labels, ``(C,)`` each.

        Returns:
            The measures; none, with a warning, where no image shows a class.

        Raises:
            DataError: No image was given, or the images have different classes.
        """
        if not results:
            raise DataError('no image to evaluate: the id list is empty')
        sizes = {row.shape for pair in results for row in pair}
        if len(sizes) > 1:
            raise DataError(
                f'scores and labels of all images must be of the same classes, not {sizes}'
            )
        scores, targets = (
            np.stack(rows, axis=1) for rows in zip(*results, strict=True)
        )
        found = {
            name: 100 * average_precision(scores[c], targets[c])
            for c, name in enumerate(self._class_names(len(scores)))
            if (targets[c] > 0).any()
        }
        if not found:
            print_log(
                f'mAP is not measured: none of the {len(results)} images that it would be '
                'measured on shows a class; give some of them tags',
                logger='current',
                level=logging.WARNING,
            )
            return {}
        per_class = {f'AP/{name}': value for name, value in found.items()}
        mean = float(np.mean(list(found.values())))
        over = dict(classes=len(found), images=len(results))
        return dict(mAP=mean, **over, **(per_class if self.per_class else {}))

    def _class_names(self, count: int) -> list[str]:
        names = (self.dataset_meta or {}).get('classes', ())
        return list(names) if len(names) == count else [str(c) for c in range(count)]


def _row(values: Any) -> np.ndarray:
    """One image's ``(C,)`` as float64 on the CPU; numpy has no bfloat16."""
    return torch.as_tensor(values).detach().cpu().double().numpy()
