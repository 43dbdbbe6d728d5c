"""From seeds to pseudo labels."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch

from wsss_plugins.config import plain
from wsss_plugins.datasets import WSSSDataset, read_image
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.progress import ProgressBar
from wsss_plugins.refiners import RefinerChain
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.base import Stage
from wsss_plugins.stages.distributed import rank, share_of, world_size
from wsss_plugins.stages.record import StageRecord
from wsss_plugins.stages.seed import as_image, seed_path
from wsss_plugins.structures import Seed, save_label_map


@STAGES.register_module()
class RefineStage(Stage):
    """Writes ``labels/<id>.png``, the pseudo label of every image.

    Args:
        name: Name of the stage.
        seeds: Stage that made the seeds.
        dataset: Config of the images; no masks.
        refiners: Configs of the refiners, in order; the first gives the background.
        threshold: The ``threshold`` of the first refiner: a number, or the name of an
            evaluation stage whose best threshold is taken. None leaves the refiner's own.
        threshold_factor: Factor of a best threshold. A dense CRF takes away from objects,
            so that its best threshold lies below that of the seeds alone.
        workers: Processes, one thread each; by default one per core.
    """

    def __init__(
        self,
        name: str,
        seeds: str,
        dataset: dict[str, Any],
        refiners: Sequence[dict[str, Any]],
        threshold: float | str | None = None,
        threshold_factor: float = 1.0,
        workers: int | None = None,
    ) -> None:
        super().__init__(name)
        if not refiners:
            raise ConfigError(
                f"stage '{name}' has no refiners: begin with a background policy"
            )
        self.seeds = seeds
        self.threshold = threshold
        self.threshold_factor = threshold_factor
        self.inputs = (seeds, threshold) if isinstance(threshold, str) else (seeds,)
        self.dataset = dataset
        self.refiners = [dict(cfg) for cfg in refiners]
        if threshold is not None:
            self.refiners[0]['threshold'] = (
                0.5 if isinstance(threshold, str) else threshold
            )
        RefinerChain(self.refiners)  # a mistake shows before any work
        self.workers = workers

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Refines the seeds whose pseudo label is missing."""
        dataset = build_as(DATASETS, self.dataset, WSSSDataset)
        if isinstance(self.threshold, str):
            best = best_threshold(inputs[self.threshold])
            self.refiners[0]['threshold'] = round(self.threshold_factor * best, 4)
        names = dataset.ids
        mine = share_of(range(len(names)))
        jobs = [
            (
                seed_path(inputs[self.seeds], names[i]),
                dataset.image_path(i),
                label_path(out, names[i]),
            )
            for i in mine
        ]
        jobs = [job for job in jobs if not job[2].is_file()]
        with ProgressBar(self.name, len(mine), quiet=rank() != 0) as bar:
            bar.begin_at(len(mine) - len(jobs))
            for _ in self._map(jobs):
                bar.advance()
        threshold = self.refiners[0].get('threshold')
        return dict(images=len(names)) | (
            {} if threshold is None else dict(threshold=threshold)
        )

    def provenance(self) -> dict[str, Any]:
        """The refiners and where the threshold comes from."""
        source = 'fixed'
        if isinstance(self.threshold, str):
            factor = self.threshold_factor
            part = '' if factor == 1 else f'{factor:g} times '
            source = f'{part}the best on ground truth ({self.threshold})'
        names = [str(plain(cfg['type'])).rsplit('.', 1)[-1] for cfg in self.refiners]
        return dict(refiners=names, threshold=source)

    def _map(self, jobs: list[tuple[Path, Path, Path]]) -> Any:
        workers = self.workers or max(1, (os.cpu_count() or 1) // world_size())
        if workers == 1 or len(jobs) < 2 * workers:
            _prepare(self.refiners)
            yield from map(_refine_one, jobs)
            return
        context = get_context('spawn')
        with ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=_prepare_worker,
            initargs=(plain(self.refiners),),
        ) as pool:
            yield from pool.map(_refine_one, jobs, chunksize=8)


_CHAIN = RefinerChain()
"""The refiners of this worker process."""


def _prepare(configs: list[dict[str, Any]]) -> None:
    global _CHAIN
    _CHAIN = RefinerChain(configs)


def _prepare_worker(configs: list[dict[str, Any]]) -> None:
    """Prepares a process of the pool; it uses one thread and dies with its parent."""
    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _prepare(configs)


def _leave_with_parent() -> None:
    """Ends this process when its parent was killed; the pool alone would wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _refine_one(job: tuple[Path, Path, Path]) -> None:
    """Refines one seed and writes its label."""
    seed_file, image_file, label_file = job
    seed, image = Seed.load(seed_file), as_image(read_image(image_file))
    try:
        refined = _CHAIN(image, seed)
    except DataError as error:
        raise DataError(f'{seed_file}: {error}') from error
    save_label_map(label_file, refined.to_label().numpy())


def label_path(stage: Path, name: str) -> Path:
    """Where a stage keeps the label map of image ``name``."""
    return stage / 'labels' / f'{name}.png'


def best_threshold(stage: Path) -> float:
    """The best threshold that an evaluation stage found.

    Raises:
        DataError: The stage has none.
    """
    record = StageRecord.load(stage)
    if record is None or 'best_threshold' not in record.metrics:
        raise DataError(f'{stage} has no best threshold: name a stage that sweeps one')
    return float(record.metrics['best_threshold'])
