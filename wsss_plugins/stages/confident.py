"""Makes confident labels from seeds, on which AffinityNet is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsss_plugins.config import plain
from wsss_plugins.datasets import confident_labels
from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import (
    BackgroundPolicy,
    DenseCRF,
    PowerBackground,
    Refiner,
    RefinerChain,
)
from wsss_plugins.registry import REFINERS, STAGES, build_as, find_type
from wsss_plugins.stages.refine import RefineStage
from wsss_plugins.stages.refine_jobs import (
    Batch,
    Refined,
    RefineTask,
    RefineWorker,
    save_label,
)
from wsss_plugins.structures import IGNORE, Seed, save_label_map, save_npz
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.layout import confident_scores_path, label_path
from wsss_plugins.structures.measured import Measured

PARTS = ('low', 'high')
"""Folders of the labels of the strong and of the weak background."""


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
        self.alphas = (alpha_low, alpha_high)
        chain = [dict(cfg) for cfg in refiners]
        background = only_policy(chain, PowerBackground)
        background['alpha'] = alpha_low
        self.backgrounds = (dict(background), dict(background, alpha=alpha_high))
        super().__init__(
            name, seeds, dataset, chain, workers=workers, batch_size=batch_size
        )

    def measured(self) -> Measured:
        """Declares the two exponents as fixed thresholds."""
        alphas = ' and '.join(f'{alpha:g}' for alpha in self.alphas)
        fixed = Threshold(self.name, Source.FIXED, f'PowerBackground, alpha {alphas}')
        return replace(super().measured(), thresholds=(fixed,))

    def _results(
        self, task: RefineTask, batches: Sequence[Batch]
    ) -> Iterator[tuple[Batch, dict[str, str]]]:
        """Refines with both backgrounds, and combines the two results of each image."""
        both = ConfidentTask(**vars(task), backgrounds=self.backgrounds)
        return super()._results(both, batches)


@dataclass(frozen=True)
class ConfidentTask(RefineTask):
    """All settings that a process needs to make confident labels.

    Attributes:
        backgrounds: Config of the strong background, and of the weak one.
    """

    backgrounds: Sequence[dict[str, Any]] = ()

    def portable(self) -> ConfidentTask:
        """The same task for another process: with configs of built-in types."""
        return replace(
            self, refiners=plain(self.refiners), backgrounds=plain(self.backgrounds)
        )

    def worker(self, place: torch.device) -> ConfidentWorker:
        """What makes the confident labels in one process, on that device."""
        return ConfidentWorker(self, place)


class ConfidentWorker(RefineWorker):
    """Refines images with two backgrounds, and combines the results.

    Refiners after the background see both seeds of an image at once, so that a dense CRF
    builds its kernels once.

    Args:
        task: The task.
        place: Device on which to refine.
    """

    def __init__(self, task: ConfidentTask, place: torch.device) -> None:
        super().__init__(task, place)
        refiners = self.chain.refiners
        self.backgrounds = [
            build_as(REFINERS, cfg, Refiner) for cfg in task.backgrounds
        ]
        policy = type(self.backgrounds[0])
        at = [isinstance(refiner, policy) for refiner in refiners].index(True)
        self.before = RefinerChain(refiners[:at])
        self.after = RefinerChain(refiners[at + 1 :])

    def refined(self, images: Sequence[Tensor], seeds: Sequence[Seed]) -> list[Refined]:
        """Refines the seed of each image with the strong and with the weak background."""
        seeds = self.before.refine_batch(images, seeds)
        low, high = (one.refine_batch(images, seeds) for one in self.backgrounds)
        both = self.after.refine_batch([*images, *images], [*low, *high])
        return list(zip(both[: len(seeds)], both[len(seeds) :], strict=True))

    def save(self, name: str, refined: Refined) -> None:
        """Writes the labels of each background, and the bytes and the label of both.

        The label of both is written last, since its file marks the image as done.
        """
        out = self.task.out
        for part, seed in zip(PARTS, refined, strict=True):
            save_label(out / part, name, seed)
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


def only_policy(
    refiners: Sequence[dict[str, Any]], policy: type[BackgroundPolicy]
) -> dict[str, Any]:
    """The config of the only background policy of a class.

    Args:
        refiners: Configs of the refiners of a stage of confident labels.
        policy: The class.

    Raises:
        ConfigError: ``refiners`` has no ``policy``, or more than one.
    """
    found = [cfg for cfg in refiners if find_type(cfg.get('type'), REFINERS) is policy]
    if len(found) != 1:
        raise ConfigError(
            f'the refiners of a stage of confident labels need one {policy.__name__}, '
            f'whose numbers it fills in, not {len(found)}',
            token='refiners',
        )
    return found[0]


def _as_bytes(scores: np.ndarray) -> np.ndarray:
    """Rounds scores in [0, 1] to uint8, in units of 1 / 255."""
    return np.rint(scores.clip(0, 1) * 255).astype(np.uint8)
