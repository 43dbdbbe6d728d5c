"""Refines batches of images in one or several processes, with equal results."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wsss_plugins.config import plain
from wsss_plugins.datasets import read_image
from wsss_plugins.engine.flow import attempt, in_threads
from wsss_plugins.errors import DataError, UserError
from wsss_plugins.refiners import RefinerChain
from wsss_plugins.stages.images import as_image
from wsss_plugins.stages.train import load_trained
from wsss_plugins.structures import Seed, save_label_map
from wsss_plugins.structures.layout import label_path, seed_path
from wsss_plugins.structures.one_thread import one_thread

Batch = Sequence[tuple[str, Path]]
"""Ids and photos of images of equal size that are refined together."""

Refined = tuple[Seed, ...]
"""The refined seed of an image, or one for each way to refine it."""

Result = tuple[Batch, dict[str, str]]
"""A batch that was refined, and the reason for each of its images that failed, by id."""


@dataclass(frozen=True)
class RefineTask:
    """All settings that a process needs to refine images.

    Attributes:
        refiners: Configs of the refiners, in order.
        models: Folder of each trained model, by name of the stage that trained it.
        seeds: Folder of the stage that made the seeds.
        num_classes: Number of foreground classes.
        out: Folder to write to.
        soft: True to write the refined scores too.
        modules: Modules that define the models' types; a process imports them first.
    """

    refiners: Sequence[dict[str, Any]]
    models: Mapping[str, Path]
    seeds: Path
    num_classes: int
    out: Path
    soft: bool
    modules: tuple[str, ...] = ()

    def worker(self, place: torch.device) -> RefineWorker:
        """What refines images in one process, on that device."""
        return RefineWorker(self, place)

    def portable(self) -> RefineTask:
        """The same task for another process: with configs of built-in types."""
        return replace(self, refiners=plain(self.refiners))

    def is_done(self, batch: Batch) -> bool:
        """Whether all files of a batch have been written."""
        return all(
            label_path(self.out, name).is_file()
            and (not self.soft or seed_path(self.out, name).is_file())
            for name, _ in batch
        )

    def load_seed(self, name: str) -> Seed:
        """Loads the seed of image ``name``.

        Raises:
            DataError: The seed is missing or damaged, or has a class id below 0 or not
                below ``num_classes``; the message names the file.
        """
        path = seed_path(self.seeds, name)
        seed = Seed.load(path)
        wrong = seed.classes[(seed.classes < 0) | (seed.classes >= self.num_classes)]
        if len(wrong):
            raise DataError(
                f'{path} has the class id {wrong[0]}: allowed are 0 to '
                f'{self.num_classes - 1}'
            )
        return seed

    def load(self, name: str, photo: Path) -> tuple[Tensor, Seed]:
        """Loads an image ``(3, H, W)`` uint8 and its seed.

        Raises:
            DataError: The image or its seed is missing or damaged, or their sizes
                differ; the message names the file.
        """
        seed, image = self.load_seed(name), as_image(read_image(photo))
        size = (image.shape[1], image.shape[2])
        if size != seed.size:
            raise DataError(
                f'{seed_path(self.seeds, name)} is {seed.size} (height, width) but its '
                f'image {photo} is {size}: '
                'make the seed again from the same image'
            )
        return image, seed


class RefineWorker:
    """Refines the images of a task in one process.

    Args:
        task: The task.
        place: Device on which to refine.
    """

    def __init__(self, task: RefineTask, place: torch.device) -> None:
        self.task = task
        self.place = place
        for module in task.modules:
            importlib.import_module(module)
        self.chain = RefinerChain(task.refiners)
        self.chain.bind(
            {
                stage: load_trained(folder, nn.Module).to(place)
                for stage, folder in task.models.items()
            }
        )

    def __call__(self, batch: Batch) -> dict[str, str]:
        """Refines the images of a batch and writes the results.

        Returns:
            The reason for each image that failed, by id.
        """
        return self.write(self.refine(self.read(batch)))

    def read(self, batch: Batch) -> dict[str, tuple[Tensor, Seed] | DataError]:
        """Reads the images of a batch and their seeds, by id; see :func:`attempt`."""
        return {name: attempt(self.task.load, name, photo) for name, photo in batch}

    @torch.no_grad()
    def refine(
        self, read: Mapping[str, tuple[Tensor, Seed] | DataError]
    ) -> dict[str, Refined | str]:
        """Refines what :meth:`read` read of a batch.

        Returns:
            The result of each image, or the reason why it failed, by id.
        """
        done: dict[str, Refined | str] = {}
        loaded: dict[str, tuple[Tensor, Seed]] = {}
        for name, found in read.items():
            if isinstance(found, DataError):
                done[name] = str(found)
            else:
                image, seed = found
                loaded[name] = image.to(self.place), seed.to(self.place)
        return done | self._refine(loaded)

    @torch.no_grad()
    def write(self, done: Mapping[str, Refined | str]) -> dict[str, str]:
        """Writes the results of :meth:`refine`.

        Returns:
            The reason for each image that failed, by id.
        """
        failed = {}
        for name, refined in done.items():
            if isinstance(refined, str):
                failed[name] = refined
            else:
                self.save(name, refined)
        return failed

    def _refine(
        self, loaded: dict[str, tuple[Tensor, Seed]]
    ) -> dict[str, Refined | str]:
        """The result of each image, or the reason why refining it failed."""
        if not loaded:
            return {}
        images, seeds = zip(*loaded.values(), strict=True)
        try:
            refined = self.refined(images, seeds)
            for seed in chain.from_iterable(refined):
                if not seed.probabilities().isfinite().all():
                    raise DataError('its refined scores are not finite')
        except DataError as error:
            if len(loaded) > 1:  # finds out which image fails
                alone = [self._refine({name: pair}) for name, pair in loaded.items()]
                return {name: one for each in alone for name, one in each.items()}
            return {
                name: f'{seed_path(self.task.seeds, name)}: {error}' for name in loaded
            }
        return dict(zip(loaded, refined, strict=True))

    def refined(self, images: Sequence[Tensor], seeds: Sequence[Seed]) -> list[Refined]:
        """Refines the seed of each image of a batch."""
        return [(seed,) for seed in self.chain.refine_batch(images, seeds)]

    def save(self, name: str, refined: Refined) -> None:
        """Writes what :meth:`refined` returned for image ``name``."""
        (seed,) = refined
        if self.task.soft:
            seed.save(seed_path(self.task.out, name))
        save_label(self.task.out, name, seed)


def save_label(out: Path, name: str, seed: Seed) -> None:
    """Writes the label map of a seed as that of image ``name`` into folder ``out``."""
    save_label_map(label_path(out, name), seed.to_label().cpu().numpy())


def refine_here(
    task: RefineTask, batches: Sequence[Batch], place: torch.device
) -> Iterator[Result]:
    """Refines batches in this process, with one thread; reads ahead and writes behind.

    Yields:
        Each batch, and the reason for each of its images that failed.
    """
    worker = task.worker(place)
    read = in_threads(worker.read, batches)
    reasons = in_threads(worker.write, map(one_thread()(worker.refine), read))
    yield from zip(batches, reasons, strict=True)


def refine_in_pool(
    task: RefineTask, batches: Sequence[Batch], workers: int
) -> Iterator[Result]:
    """Refines batches in ``workers`` processes with one thread each, on CPUs.

    Yields:
        Each batch, in order, and the reason for each of its images that failed.

    Raises:
        UserError: A process ended unexpectedly, for example for lack of memory.
    """
    if task.models:  # raises errors of loading here, where their message is kept
        task.worker(torch.device('cpu'))
    task = task.portable()
    pool = ProcessPoolExecutor(
        workers, get_context('spawn'), initializer=_prepare, initargs=(task,)
    )
    try:
        with pool:
            with _without_interrupts():  # the processes inherit this
                results = pool.map(_work, batches)
            yield from zip(batches, results, strict=True)
    except BrokenProcessPool as error:
        raise UserError(
            f'a process of {task.out.name} died, perhaps for lack of memory: give fewer '
            f'workers than {workers}, then run the same command again'
        ) from error


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keeps Ctrl-C back until the block ends, and from processes that start in it.

    A terminal sends Ctrl-C to all processes of a command. Those of the pool end when their
    parent does, without a traceback each.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_WORKER: RefineWorker
"""The worker of this process of the pool; set by :func:`_prepare`."""


def _prepare(task: RefineTask) -> None:
    """Prepares a process of the pool: it uses one thread and no GPU, and ends with its parent."""
    global _WORKER
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
    torch.set_num_threads(1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _WORKER = task.worker(torch.device('cpu'))


def _leave_with_parent() -> None:
    """Ends this process if its parent is killed; without this it would wait forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(batch: Batch) -> dict[str, str]:
    return _WORKER(batch)
