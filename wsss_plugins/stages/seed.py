"""Seeds of every image of a data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.errors import DataError
from wsss_plugins.progress import ProgressBar
from wsss_plugins.registry import DATASETS, SEED_HEADS, STAGES, build_as
from wsss_plugins.seeds import MultiScaleFlip, SeedHead
from wsss_plugins.stages.base import Stage
from wsss_plugins.stages.distributed import device, rank, share_of
from wsss_plugins.stages.failures import Failures
from wsss_plugins.stages.train import load_trained
from wsss_plugins.structures import Seed


@STAGES.register_module()
class SeedStage(Stage):
    """Writes ``seeds/<id>.npz`` for every image: the maps of its labels, in [0, 1].

    It goes on without photos that are missing or broken; the metric ``failed`` counts them.

    Args:
        name: Name of the stage.
        model: Stage that trained the classifier.
        head: Config of a :class:`SeedHead`.
        dataset: Config of the images and their image-level labels.
        scales: See :class:`MultiScaleFlip`.
        flip: Likewise.
        align_corners: Likewise.
        input_size: ``(H, W)`` every image is resized to; by default its own size,
            rounded to the backbone's stride.
        batch_size: Images in one forward pass.
    """

    needs_every_image = False

    def __init__(
        self,
        name: str,
        model: str,
        head: dict[str, Any],
        dataset: dict[str, Any],
        scales: Sequence[float] = (1.0,),
        flip: bool = True,
        align_corners: bool = False,
        input_size: tuple[int, int] | None = None,
        batch_size: int = 32,
    ) -> None:
        super().__init__(name)
        self.model = model
        self.inputs = (model,)
        self.head = build_as(SEED_HEADS, head, SeedHead)
        self.maps = MultiScaleFlip(self.head, scales, flip, align_corners)
        self.dataset = dataset
        self.input_size = tuple(input_size) if input_size else None
        self.batch_size = batch_size

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Makes the seeds that are missing."""
        model = load_trained(inputs[self.model], WSSSClassifier)
        cfg = dict(self.dataset, require_images=False)
        dataset = build_as(DATASETS, cfg, WSSSDataset)
        ids = dataset.ids
        # The same batches whoever makes them: rounding depends on an image's company.
        mine = share_of(list(batches_of_one_size(dataset, self.batch_size)))
        todo = [b for b in mine if any(not seed_path(out, ids[i]).is_file() for i in b)]
        with ProgressBar(self.name, sum(map(len, mine)), quiet=rank() != 0) as bar:
            bar.begin_at(bar.total - sum(map(len, todo)))
            failures = Failures(out, bar)
            for indices in todo:
                photos: dict[int, np.ndarray] = {}
                for index in indices:
                    with failures.leaving_out(ids[index]):
                        photos[index] = dataset.load_image(index)
                labels = [dataset.labels(index) for index in photos]
                seeds = self._seeds(model, list(photos.values()), labels)
                for index, seed in zip(photos, seeds, strict=True):
                    seed.save(seed_path(out, ids[index]))
                bar.advance(len(indices))
            failed = failures.write(ids)
        return dict(images=len(ids), failed=failed)

    def provenance(self) -> dict[str, Any]:
        """Head, scales, flip and the labels that were used."""
        return dict(
            head=type(self.head).__name__,
            scales=list(self.maps.scales),
            flip=self.maps.flip,
            labels='image-level ground truth',
        )

    def _seeds(
        self,
        model: WSSSClassifier,
        photos: Sequence[np.ndarray],
        image_labels: Sequence[np.ndarray],
    ) -> Iterator[Seed]:
        """The seeds of photos of one size."""
        if not photos:
            return
        place = device()
        pixels = torch.from_numpy(np.stack(photos))
        images = pixels.permute(0, 3, 1, 2).to(place, torch.float32)
        size = (images.shape[2], images.shape[3])
        target = self.input_size or _round_to(size, model.backbone.stride)
        if target != size:
            images = F.interpolate(
                images, size=target, mode='bilinear', align_corners=False
            )
        labels = torch.from_numpy(np.stack(image_labels)).to(place)
        maps = self.maps(model, model.normalise(images), labels, size).cpu()
        for image_maps, present in zip(maps, labels.cpu(), strict=True):
            classes = present.nonzero()[:, 0]
            if len(classes):
                yield Seed(image_maps[classes], classes).normalised()
            else:
                yield Seed(torch.zeros(0, *size), classes)


def seed_path(stage: Path, name: str) -> Path:
    """Where a seed stage keeps the seed of image ``name``."""
    return stage / 'seeds' / f'{name}.npz'


def _round_to(size: tuple[int, int], stride: int) -> tuple[int, int]:
    rows, columns = (max(1, round(side / stride)) * stride for side in size)
    return rows, columns


def batches_of_one_size(dataset: WSSSDataset, batch_size: int) -> Iterator[list[int]]:
    """Groups neighbouring images of one size, so that a batch needs no padding.

    Args:
        dataset: The images.
        batch_size: The most images of a batch.

    Yields:
        Indices of the images of a batch. Images whose size cannot be read share batches
        and fail when they are read.
    """
    waiting: dict[tuple[int, int] | None, list[int]] = defaultdict(list)
    for index in range(len(dataset)):
        try:
            size = None if batch_size == 1 else dataset.image_size(index)
        except DataError:
            size = None
        group = waiting[size]
        group.append(index)
        if len(group) == batch_size:
            yield list(group)
            group.clear()
    for group in waiting.values():
        if group:
            yield group


def as_image(pixels: np.ndarray) -> Tensor:
    """An image ``(H, W, 3)`` uint8 as refiners take it, ``(3, H, W)`` uint8."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
