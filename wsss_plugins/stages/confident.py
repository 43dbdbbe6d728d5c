"""Makes confident labels from seeds, on which AffinityNet is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wsss_plugins.datasets import confident_labels
from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import DenseCRF, PowerBackground
from wsss_plugins.registry import STAGES
from wsss_plugins.stages.refine_jobs import Refined
from wsss_plugins.stages.two_backgrounds import TwoBackgroundStage, TwoBackgroundWorker
from wsss_plugins.structures import IGNORE, save_label_map, save_npz
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.layout import confident_scores_path, label_path
from wsss_plugins.structures.measured import Measured


class ConfidentWorker(TwoBackgroundWorker):
    """Combines a strong and a weak background as PSA does."""

    parts = ('low', 'high')

    def save(self, name: str, refined: Refined) -> None:
        """Writes the labels of each background, and the bytes and the label of both.

        The label of both is written last, since its file marks the image as done.
        """
        super().save(name, refined)
        out = self.task.out
        low, high = (seed.probabilities().cpu().numpy() for seed in refined)
        classes = refined[0].classes.cpu().numpy()
        save_npz(
            confident_scores_path(out, name),
            dict(low=_as_bytes(low), high=_as_bytes(high), classes=classes),
        )
        position = confident_labels(low.transpose(1, 2, 0), high.transpose(1, 2, 0))
        values = np.full(256, IGNORE, np.uint8)
        values[: len(classes) + 1] = [0, *(classes + 1)]
        save_label_map(label_path(out, name), values[position])


@STAGES.register_module()
class ConfidentLabelStage(TwoBackgroundStage):
    """Refines seeds with a strong and a weak background, and keeps labels on which both agree.

    A pixel of ``labels/<id>.png`` is an object if the object's score exceeds even the
    strong background, background if even the weak background exceeds all objects, and
    255 (ignored) elsewhere. For training the stage also writes ``scores/<id>.npz`` with
    ``low`` and ``high`` ``(1 + K, H, W)`` uint8 in units of 1 / 255, and ``classes``
    ``(K,)``. The labels of each background alone are in ``low/`` and ``high/``. Workers,
    failures and interruptions are handled as in :class:`RefineStage`.

    Source: Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level
    Supervision" (PSA), CVPR 2018, section 3.2.

    Args:
        name: Name of the stage.
        seeds: Name of the stage that made the seeds.
        dataset: Config of the images; masks are not read.
        alpha_low: Exponent of the strong background, see :class:`PowerBackground`.
        alpha_high: Exponent of the weak background. The exponents are 4 and 24 in PSA's
            published results, and 4 and 32 in the defaults of its code and in the
            ReScience paper.
        refiners: Configs of the refiners, in order. Exactly one is a
            :class:`PowerBackground`, whose ``alpha`` the stage fills in. By default a
            :class:`PowerBackground` and PSA's dense CRF.
        workers: Number of processes, see :class:`RefineStage`.
        batch_size: Number of images per batch, see :class:`RefineStage`.

    Raises:
        ConfigError: ``0 < alpha_low < alpha_high`` does not hold, or ``refiners`` has no
            or more than one :class:`PowerBackground`.
    """

    policy, argument, combined_by = PowerBackground, 'alpha', ConfidentWorker

    def __init__(
        self,
        name: str,
        seeds: str,
        dataset: dict[str, Any],
        alpha_low: float = 4.0,
        alpha_high: float = 32.0,
        refiners: Sequence[dict[str, Any]] = (
            dict(type=PowerBackground),
            dict(type=DenseCRF),
        ),
        workers: int | None = None,
        batch_size: int = 1,
    ) -> None:
        if not 0 < alpha_low < alpha_high:
            raise ConfigError(
                f"stage '{name}' needs 0 < alpha_low < alpha_high, not {alpha_low} and "
                f'{alpha_high}',
                token='alpha_low',
            )
        numbers = (alpha_low, alpha_high)
        super().__init__(name, seeds, dataset, numbers, refiners, workers, batch_size)

    def measured(self) -> Measured:
        """Declares the two exponents as fixed thresholds."""
        alphas = ' and '.join(f'{alpha:g}' for alpha in self.numbers)
        fixed = Threshold(self.name, Source.FIXED, f'PowerBackground, alpha {alphas}')
        return replace(super().measured(), thresholds=(fixed,))


def _as_bytes(scores: np.ndarray) -> np.ndarray:
    """Rounds scores in [0, 1] to uint8, in units of 1 / 255."""
    return np.rint(scores.clip(0, 1) * 255).astype(np.uint8)
