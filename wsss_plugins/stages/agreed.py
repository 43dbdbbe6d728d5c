"""Makes confident labels from seeds by two thresholds, on which IRNet is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import ConstantBackground, DenseCRF
from wsss_plugins.registry import STAGES
from wsss_plugins.stages.confident import ConfidentTask, ConfidentWorker, only_policy
from wsss_plugins.stages.refine import RefineStage
from wsss_plugins.stages.refine_jobs import Batch, Refined, RefineTask, save_label
from wsss_plugins.structures import agreed_labels, save_label_map
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.layout import label_path
from wsss_plugins.structures.measured import Measured

PARTS = ('high', 'low')
"""Folders of the labels with the high and with the low background."""


@STAGES.register_module()
class AgreedLabelStage(RefineStage):
    """Refines seeds with a high and a low background, and keeps labels on which both agree.

    A pixel of ``labels/<id>.png`` is an object if it is one under the high background,
    background if it is background under both, and 255 (ignored) elsewhere. The labels of
    each background alone are in ``high/`` and ``low/``. Workers, failures and
    interruptions are handled as in :class:`RefineStage`.

    Source: Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with
    Inter-pixel Relations" (IRN), CVPR 2019, section 4.1, with the numbers of its code.

    Args:
        name: Name of the stage.
        seeds: Name of the stage that made the seeds.
        dataset: Config of the images; masks are not read.
        high: Score of the background above which a pixel is an object.
        low: Score of the background up to which a pixel is background.
        refiners: Configs of the refiners, in order. Exactly one is a
            :class:`ConstantBackground`, whose ``threshold`` the stage fills in. By default
            a :class:`ConstantBackground` and IRN's dense CRF.
        workers: Number of processes, see :class:`RefineStage`.
        batch_size: Number of images per batch, see :class:`RefineStage`.

    Raises:
        ConfigError: ``0 <= low < high <= 1`` does not hold, or ``refiners`` has no or more
            than one :class:`ConstantBackground`.
    """

    measures_background = False  # pixels that are not sure are neither

    def __init__(
        self,
        name: str,
        seeds: str,
        dataset: dict[str, Any],
        high: float = 0.30,
        low: float = 0.05,
        refiners: Sequence[dict[str, Any]] = (
            dict(type=ConstantBackground),
            dict(type=DenseCRF, preset='irn'),
        ),
        workers: int | None = None,
        batch_size: int = 1,
    ) -> None:
        if not 0 <= low < high <= 1:
            raise ConfigError(
                f"stage '{name}' needs 0 <= low < high <= 1, not {low} and {high}",
                token='high',
            )
        self.numbers = (float(high), float(low))
        chain = [dict(cfg) for cfg in refiners]
        background = only_policy(chain, ConstantBackground)
        background['threshold'] = high
        self.backgrounds = (dict(background), dict(background, threshold=low))
        super().__init__(
            name, seeds, dataset, chain, workers=workers, batch_size=batch_size
        )

    def measured(self) -> Measured:
        """Declares the two thresholds as fixed."""
        fixed = Threshold(self.name, Source.FIXED, values=self.numbers)
        return replace(super().measured(), thresholds=(fixed,))

    def _results(
        self, task: RefineTask, batches: Sequence[Batch]
    ) -> Iterator[tuple[Batch, dict[str, str]]]:
        """Refines with both backgrounds, and combines the two results of each image."""
        both = AgreedTask(**vars(task), backgrounds=self.backgrounds)
        return super()._results(both, batches)


@dataclass(frozen=True)
class AgreedTask(ConfidentTask):
    """All settings that a process needs to make labels by two thresholds."""

    def worker(self, place: torch.device) -> AgreedWorker:
        """What makes the labels in one process, on that device."""
        return AgreedWorker(self, place)


class AgreedWorker(ConfidentWorker):
    """Refines images with two backgrounds, and writes the labels that both agree on."""

    def save(self, name: str, refined: Refined) -> None:
        """Writes the labels of each background, and then that of both."""
        out = self.task.out
        for part, seed in zip(PARTS, refined, strict=True):
            save_label(out / part, name, seed)
        high, low = (seed.to_label().cpu().numpy() for seed in refined)
        save_label_map(label_path(out, name), agreed_labels(high, low))
