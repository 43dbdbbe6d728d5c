"""Measures how well damaged images were restored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from wsss_plugins.errors import DataError
from wsss_plugins.registry import METRICS


@METRICS.register_module()
class MendedPixels(BaseMetric):
    """Share of the variance of the colours that a prediction explains, in percent.

    ``100 (1 - sum of errors / sum of variances)`` over the images, at least 0: 0 is as
    good as predicting the mean colour of each image, 100 is perfect. Reads
    ``pred_error`` and ``variance`` of each data sample, as
    :class:`~wsss_plugins.classifiers.MaskedDenoiser` writes them.

    Args:
        collect_device: Where workers exchange results, ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the names of the results.
    """

    default_prefix = 'mended'

    def __init__(self, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Collects the errors of a batch."""
        for sample in data_samples:
            pair = float(sample['pred_error']), float(sample['variance'])
            self.results.append(pair)

    def compute_metrics(self, results: list[tuple[float, float]]) -> dict[str, float]:
        """Computes ``R2``, in percent.

        Args:
            results: Error and variance of each image.

        Raises:
            DataError: No image was evaluated.
        """
        if not results:
            raise DataError('no image to evaluate: the id list is empty')
        error, variance = (sum(values) for values in zip(*results, strict=True))
        return dict(R2=100 * max(0.0, 1 - error / variance) if variance else 0.0)
