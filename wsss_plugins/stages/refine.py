"""A stage that refines seeds into pseudo labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.failures import Failures
from wsss_plugins.engine.model_file import modules_of
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import device, rank, share_of, world_size
from wsss_plugins.errors import ConfigError
from wsss_plugins.progress import ProgressBar
from wsss_plugins.refiners import BackgroundPolicy, RefinerChain
from wsss_plugins.refiners.threshold import CRITERIA, FOREGROUND_SHARE
from wsss_plugins.registry import DATASETS, REFINERS, STAGES, build_as, find_type
from wsss_plugins.stages.background_share import background_metrics
from wsss_plugins.stages.images import batches_of_one_size
from wsss_plugins.stages.refine_jobs import (
    Batch,
    RefineTask,
    Result,
    refine_here,
    refine_in_pool,
)
from wsss_plugins.stages.thresholds import best_threshold, threshold_of_seeds
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.measured import Measured

ANY_THRESHOLD = 0.5
"""Placeholder to build a background policy whose threshold is found at run time."""


@STAGES.register_module()
class RefineStage(Stage):
    """Writes ``labels/<id>.png``, the pseudo label of every image.

    Images whose photo or seed is missing or damaged, whose sizes differ, or whose seed
    has an unknown class are left out; the metric ``failed`` is their number. Existing
    files are not written again. The files are equal to the last byte for any number of
    workers, also after interruptions. The metric ``background_share`` is the share of
    background in the label maps; a warning says where it is much lower than that of the
    seeds (:func:`background_metrics`). A :class:`FolderStage` provides seeds that another
    program made.

    Args:
        name: Name of the stage.
        seeds: Name of the stage that made the seeds.
        dataset: Config of the images; masks are not read.
        refiners: Configs of the refiners, in order. One of them, usually the first, is a
            background policy. Stages whose models they need are read too.
        threshold: The ``threshold`` of the first background policy: a number; a criterion
            of :func:`label_free_threshold`, such as 'otsu', which is applied to all
            seeds; or the name of an evaluation stage, whose best threshold is used. None
            keeps the threshold in the policy's config.
        threshold_factor: Factor of a threshold that is given by a criterion or a stage. A
            dense CRF shrinks objects, so that the best threshold before it is lower than
            that of the seeds alone.
        foreground_share: Argument of :func:`label_free_threshold`.
        soft: True to write the refined scores too, as ``seeds/<id>.npz``, so that other
            stages can read this stage in place of a seed stage.
        workers: Number of processes on CPUs, of one thread each. By default one per core;
            if there is a GPU, only this process, which uses it.
        batch_size: Largest number of images, of equal size, that are refined at once. The
            last digits of scores may depend on it.

    Raises:
        ConfigError: ``refiners`` is empty or one of them cannot be built, or ``workers``
            or ``batch_size`` is below 1.
    """

    needs_every_image = False
    reads_masks = False
    arguments_of_speed = frozenset({'workers'})
    measures_background: ClassVar[bool] = True
    """Whether every pixel of its label maps is background or a class."""

    def __init__(
        self,
        name: str,
        seeds: str,
        dataset: dict[str, Any],
        refiners: Sequence[dict[str, Any]],
        threshold: float | str | None = None,
        threshold_factor: float = 1.0,
        foreground_share: float = FOREGROUND_SHARE,
        soft: bool = False,
        workers: int | None = None,
        batch_size: int = 1,
    ) -> None:
        super().__init__(name)
        if not refiners:
            raise ConfigError(
                f"stage '{name}' has no refiners: begin with a background policy"
            )
        if min(1 if workers is None else workers, batch_size) < 1:
            raise ConfigError(
                f"stage '{name}' needs workers and batch_size >= 1, not {workers} and "
                f'{batch_size}'
            )
        self.seeds = seeds
        self.threshold = threshold
        self.threshold_factor = threshold_factor
        self.foreground_share = foreground_share
        self.dataset = dict(dataset, require_images=False)
        # Building the chain with a placeholder refuses, before any stage runs, a policy
        # that takes no threshold.
        number = ANY_THRESHOLD if isinstance(threshold, str) else threshold
        self.refiners = [dict(cfg) for cfg in refiners]
        self.chain = RefinerChain(self.refiners_with(number))
        self.models = self.chain.stages
        reads = [seeds, *self.models]
        if isinstance(threshold, str) and threshold not in CRITERIA:
            reads.append(threshold)
        self.inputs = tuple(dict.fromkeys(reads))
        self.soft = soft
        self.workers = workers
        self.batch_size = batch_size

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Refines the seeds of all images that have no pseudo label yet."""
        dataset = build_as(DATASETS, self.dataset, WSSSDataset)
        task = RefineTask(
            refiners=self.refiners,
            models={name: inputs[name] for name in self.models},
            seeds=inputs[self.seeds],
            num_classes=len(dataset.foreground_classes),
            out=out,
            soft=self.soft,
            modules=modules_of(inputs[name] for name in self.models),
        )
        ids = dataset.ids
        number = self._threshold(task, ids, inputs)
        task = replace(task, refiners=self.refiners_with(number))
        failed = self._refine(task, dataset, ids)
        threshold = _policy_of(task.refiners).get('threshold')
        metrics: dict[str, Any] = dict(images=len(ids), failed=failed)
        if threshold is not None:
            metrics['threshold'] = threshold
        if self.measures_background:
            metrics |= background_metrics(task, ids)
        return metrics

    def refiners_with(self, threshold: float | None) -> list[dict[str, Any]]:
        """Copies the configs of the refiners and sets the background's threshold.

        Args:
            threshold: The threshold of the first background policy; None keeps the one in
                its config.
        """
        refiners = [dict(cfg) for cfg in self.refiners]
        if threshold is not None:
            _policy_of(refiners)['threshold'] = threshold
        return refiners

    def parts(self) -> tuple[RefinerChain]:
        """The chain of refiners."""
        return (self.chain,)

    def measured(self) -> Measured:
        """Declares the images, and where the threshold of the background comes from."""
        chain = self.chain.refiners
        policies = (part for part in chain if isinstance(part, BackgroundPolicy))
        found = [own_threshold(self.name, policy) for policy in policies]
        given, factor = self.threshold, self.threshold_factor
        if isinstance(given, str) and given in CRITERIA:
            found[:1] = [Threshold(self.name, Source.LABEL_FREE, given, factor)]
        elif isinstance(given, str):
            detail = f'the best of {given}'
            found[:1] = [Threshold(self.name, Source.MASKS, detail, factor, of=given)]
        return Measured(
            images=self.dataset,
            thresholds=tuple(found),
            threshold_metric='threshold',
            details=dict(refiners=[type(part).__name__ for part in chain]),
        )

    def _threshold(
        self, task: RefineTask, ids: list[str], inputs: dict[str, Path]
    ) -> float | None:
        """The threshold that the config gives or names; None keeps that of the policy."""
        name = self.threshold
        if not isinstance(name, str):
            return name
        if name in CRITERIA:
            normalise = _policy_of(self.refiners).get('normalise', True)
            share = self.foreground_share
            found = threshold_of_seeds(task, ids, name, share, normalise)
        else:
            found = best_threshold(inputs[name])
        return rounded(self.threshold_factor * found)

    def _refine(self, task: RefineTask, dataset: WSSSDataset, ids: list[str]) -> int:
        """Refines the images of this worker; returns how many failed on all workers."""
        # Batches are formed before workers share them: rounding depends on the batch.
        batches: list[Batch] = [
            [(ids[i], dataset.image_path(i)) for i in indices]
            for indices in batches_of_one_size(dataset, self.batch_size)
        ]
        mine = share_of(batches)
        todo = [batch for batch in mine if not task.is_done(batch)]
        with ProgressBar(self.name, sum(map(len, mine)), quiet=rank() != 0) as bar:
            bar.begin_at(bar.total - sum(map(len, todo)))
            failures = Failures(task.out, bar)
            for batch, reasons in self._results(task, todo):
                for name, reason in reasons.items():
                    failures.add(name, reason)
                bar.advance(len(batch))
            return failures.write(ids)

    def _results(self, task: RefineTask, batches: Sequence[Batch]) -> Iterator[Result]:
        """Refines batches on a GPU, in this process, or in several processes.

        Yields:
            Each batch, and the reason for each of its images that failed.
        """
        if self.workers is None and device().type == 'cuda':
            return refine_here(task, batches, device())
        workers = self.workers or max(1, (os.cpu_count() or 1) // world_size())
        if workers == 1 or len(batches) < 2 * workers:
            return refine_here(task, batches, torch.device('cpu'))
        return refine_in_pool(task, batches, workers)


def rounded(threshold: float) -> float:
    """The threshold in four decimals; one below 0.001 in four digits, so that it stays > 0."""
    if abs(threshold) < 0.001:
        return float(f'{threshold:.4g}')
    return round(threshold, 4)


def _policy_of(refiners: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The config of the first background policy, or else of the first refiner."""
    for refiner in refiners:
        kind = find_type(refiner.get('type'), REFINERS)
        if isinstance(kind, type) and issubclass(kind, BackgroundPolicy):
            return refiner
    return refiners[0]


def own_threshold(stage: str, policy: BackgroundPolicy) -> Threshold:
    """The source of a policy's background if its stage sets no threshold.

    Args:
        stage: Name of the stage.
        policy: The background policy.
    """
    if policy.label_free:
        return Threshold(stage, Source.LABEL_FREE, type(policy).__name__)
    number = getattr(policy, 'threshold', None)
    if number is not None:
        return Threshold(stage, Source.FIXED, values=(float(number),))
    alpha = getattr(policy, 'alpha', None)
    detail = type(policy).__name__ + ('' if alpha is None else f', alpha {alpha:g}')
    return Threshold(stage, Source.FIXED, detail)
