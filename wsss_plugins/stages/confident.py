"""Makes confident labels from seeds, on which AffinityNet is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.config import plain
from wsss_plugins.datasets import confident_labels
from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import DenseCRF, PowerBackground
from wsss_plugins.registry import REFINERS, STAGES, find_type
from wsss_plugins.stages.refine import RefineStage
from wsss_plugins.stages.refine_jobs import Batch, RefineTask
from wsss_plugins.structures import IGNORE, Seed, save_label_map, save_npz
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.layout import confident_scores_path, label_path, seed_path
from wsss_plugins.structures.measured import Measured


@STAGES.register_module()
class ConfidentLabelStage(RefineStage):
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

    tasks_at_once = 2
    measures_background = False  # pixels that are not sure are neither

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
        self.alphas = dict(low=alpha_low, high=alpha_high)
        self.chains = {
            part: _with_alpha(refiners, alpha) for part, alpha in self.alphas.items()
        }
        chain = self.chains['low']
        super().__init__(
            name, seeds, dataset, chain, workers=workers, batch_size=batch_size
        )

    def measured(self) -> Measured:
        """Declares the two exponents as fixed thresholds."""
        alphas = ' and '.join(f'{alpha:g}' for alpha in self.alphas.values())
        fixed = Threshold(self.name, Source.FIXED, f'PowerBackground, alpha {alphas}')
        return replace(super().measured(), thresholds=(fixed,))

    def _results(
        self, task: RefineTask, batches: Sequence[Batch]
    ) -> Iterator[tuple[Batch, dict[str, str]]]:
        """Refines with both backgrounds, and combines the two results of each image."""
        tasks = [
            replace(task, refiners=plain(chain), out=task.out / part, soft=True)
            for part, chain in self.chains.items()
        ]
        # Both are refined batch by batch, so that few files of float scores exist at once.
        refine = super()._results
        results = [refine(each, batches) for each in tasks]
        for (batch, low), (_, high) in zip(*results, strict=True):
            failed = high | low
            for name, _ in batch:
                if name not in failed:
                    _combine(task.out, [each.out for each in tasks], name)
            yield batch, failed


def _with_alpha(
    refiners: Sequence[dict[str, Any]], alpha: float
) -> list[dict[str, Any]]:
    """Copies configs of refiners and sets the exponent of their power background.

    Raises:
        ConfigError: ``refiners`` has no :class:`PowerBackground`, or more than one.
    """
    chain = [dict(cfg) for cfg in refiners]
    powers = [
        cfg for cfg in chain if find_type(cfg.get('type'), REFINERS) is PowerBackground
    ]
    if len(powers) != 1:
        raise ConfigError(
            'the refiners of a ConfidentLabelStage need one PowerBackground, whose alpha '
            f'it fills in, not {len(powers)}',
            token='refiners',
        )
    powers[0]['alpha'] = alpha
    return chain


def _combine(out: Path, parts: Sequence[Path], name: str) -> None:
    """Combines the scores of both backgrounds into bytes and a label.

    The label is written last, since its file marks the image as done.
    """
    paths = [seed_path(part, name) for part in parts]
    seeds = [Seed.load(path) for path in paths]
    low, high = (seed.probabilities().numpy() for seed in seeds)
    classes = seeds[0].classes.numpy()
    save_npz(
        confident_scores_path(out, name),
        dict(low=_as_bytes(low), high=_as_bytes(high), classes=classes),
    )
    for path in paths:
        path.unlink()
    position = confident_labels(low.transpose(1, 2, 0), high.transpose(1, 2, 0))
    values = np.full(256, IGNORE, np.uint8)
    values[: len(classes) + 1] = [0, *(classes + 1)]
    save_label_map(label_path(out, name), values[position])


def _as_bytes(scores: np.ndarray) -> np.ndarray:
    """Rounds scores in [0, 1] to uint8, in units of 1 / 255."""
    return np.rint(scores.clip(0, 1) * 255).astype(np.uint8)
