"""Refines each seed with two backgrounds and combines the results: what confident labels share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from wsss_plugins.config import plain
from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import BackgroundPolicy, Refiner, RefinerChain
from wsss_plugins.registry import REFINERS, build_as, find_type
from wsss_plugins.stages.refine import RefineStage
from wsss_plugins.stages.refine_jobs import (
    Batch,
    Refined,
    RefineTask,
    RefineWorker,
    save_label,
)
from wsss_plugins.structures import Seed


@dataclass(frozen=True)
class TwoBackgroundTask(RefineTask):
    """All settings that a process needs to refine images with two backgrounds.

    Attributes:
        backgrounds: Config of the first background, and of the second.
        combined_by: The class that refines images and writes the results.
    """

    backgrounds: Sequence[dict[str, Any]] = ()
    combined_by: type[TwoBackgroundWorker] | None = None

    def portable(self) -> TwoBackgroundTask:
        """The same task for another process: with configs of built-in types."""
        return replace(
            self, refiners=plain(self.refiners), backgrounds=plain(self.backgrounds)
        )

    def worker(self, place: torch.device) -> TwoBackgroundWorker:
        """What refines images in one process, on that device."""
        return (self.combined_by or TwoBackgroundWorker)(self, place)


class TwoBackgroundWorker(RefineWorker):
    """Refines images with two backgrounds; a subclass combines and writes the results.

    Refiners after the background see both seeds of an image at once, so that a dense CRF
    builds its kernels once.

    Args:
        task: The task.
        place: Device on which to refine.
    """

    parts: ClassVar[tuple[str, str]] = ('first', 'second')
    """Folders of the labels with either background alone."""

    def __init__(self, task: TwoBackgroundTask, place: torch.device) -> None:
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
        """Refines the seed of each image with the first and with the second background."""
        seeds = self.before.refine_batch(images, seeds)
        first, second = (one.refine_batch(images, seeds) for one in self.backgrounds)
        both = self.after.refine_batch([*images, *images], [*first, *second])
        return list(zip(both[: len(seeds)], both[len(seeds) :], strict=True))

    def save(self, name: str, refined: Refined) -> None:
        """Writes the labels of each background alone; a subclass writes those of both last."""
        for part, seed in zip(self.parts, refined, strict=True):
            save_label(self.task.out / part, name, seed)


class TwoBackgroundStage(RefineStage):
    """A :class:`RefineStage` whose chain runs with two numbers of its background policy.

    Args:
        name: Name of the stage.
        seeds: Name of the stage that made the seeds.
        dataset: Config of the images; masks are not read.
        numbers: The number of the first background, and of the second.
        refiners: Configs of the refiners, in order. Exactly one is a :attr:`policy`.
        workers: Number of processes, see :class:`RefineStage`.
        batch_size: Number of images per batch, see :class:`RefineStage`.

    Raises:
        ConfigError: ``refiners`` has no or more than one :attr:`policy`.
    """

    measures_background = False  # pixels that are not sure are neither
    policy: ClassVar[type[BackgroundPolicy]]
    """The background policy, one of whose arguments is filled in."""
    argument: ClassVar[str]
    """The argument of the policy that has two numbers."""
    combined_by: ClassVar[type[TwoBackgroundWorker]]
    """What combines and writes the two results of an image."""

    def __init__(
        self,
        name: str,
        seeds: str,
        dataset: dict[str, Any],
        numbers: tuple[float, float],
        refiners: Sequence[dict[str, Any]],
        workers: int | None = None,
        batch_size: int = 1,
    ) -> None:
        self.numbers = numbers
        chain = [dict(cfg) for cfg in refiners]
        background = _only(chain, self.policy)
        background[self.argument] = numbers[0]
        self.backgrounds = [{**background, self.argument: each} for each in numbers]
        super().__init__(
            name, seeds, dataset, chain, workers=workers, batch_size=batch_size
        )

    def _results(
        self, task: RefineTask, batches: Sequence[Batch]
    ) -> Iterator[tuple[Batch, dict[str, str]]]:
        """Refines with both backgrounds, and combines the two results of each image."""
        both = TwoBackgroundTask(
            **vars(task), backgrounds=self.backgrounds, combined_by=self.combined_by
        )
        return super()._results(both, batches)


def _only(
    refiners: Sequence[dict[str, Any]], policy: type[BackgroundPolicy]
) -> dict[str, Any]:
    """The config of the only refiner of a class.

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
