"""The base class of stages that test explanations of one classifier by several methods."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.failures import Failures
from wsss_plugins.engine.flow import attempt, in_threads
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import barrier, device, gather, rank, share_of
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics.per_image import PerImage
from wsss_plugins.progress import ProgressBar
from wsss_plugins.provenance.networks import begun_network
from wsss_plugins.registry import DATASETS, SEED_HEADS, build_as
from wsss_plugins.seeds import SeedHead
from wsss_plugins.stages.explanations.attribution import load_classifier
from wsss_plugins.structures import IGNORE, load_npz, save_json, save_npz
from wsss_plugins.structures.card import Tags
from wsss_plugins.structures.layout import PARTS, SCORES_FILE
from wsss_plugins.structures.measured import Measured

M = TypeVar('M', bound=PerImage)

Arrays = dict[str, np.ndarray]
Pair = tuple[np.ndarray, np.ndarray | None]
"""A photo ``(H, W, 3)`` and, if needed, its mask ``(H, W)``, both uint8."""
Loaded = dict[int, Pair | DataError]
"""What was read of each image of a batch, or why it could not be, by its index."""


@dataclass(frozen=True)
class Batch:
    """Photos of equal size with their labels and masks.

    Attributes:
        images: ``(N, 3, H, W)`` RGB in [0, 1].
        labels: ``(N, C)`` in {0, 1}, the image-level labels.
        masks: Label maps ``(N, H, W)`` uint8; None if the stage does not need them.
    """

    images: Tensor
    labels: Tensor
    masks: np.ndarray | None


class ExplanationStage(Stage, Generic[M]):
    """Measures several methods on one classifier, image by image.

    The results of every batch are written to ``parts/``, so that a run that was killed
    continues with the next batch. The batches are the same for any number of workers.
    Photos and masks that are missing or damaged are left out; the metric ``failed`` is
    their number. At the end the first worker writes ``table.md``, ``table.csv`` and
    ``scores.json``. A subclass defines what is measured in a batch and how it is reported.

    Args:
        name: Name of the stage.
        model: Name of the stage that trained the classifier, or the config of a
            classifier with pretrained weights.
        methods: Config of a :class:`SeedHead` for each method, by its name in the tables.
        dataset: Config of the images.
        input_size: ``(H, W)`` to which photos are resized without keeping their aspect
            ratio, bilinearly with antialiasing; masks with nearest neighbours.
        batch_size: Number of images that are explained at once.

    Raises:
        ConfigError: ``methods`` is empty, a method is no :class:`SeedHead`, or
            ``batch_size`` is below 1.
    """

    needs_every_image = False
    needs_masks: ClassVar[bool] = False
    """True if the stage reads ground-truth masks."""
    reads_masks: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        model: str | dict[str, Any],
        methods: dict[str, dict[str, Any]],
        dataset: dict[str, Any],
        input_size: tuple[int, int] = (224, 224),
        batch_size: int = 8,
    ) -> None:
        super().__init__(name)
        if not methods or batch_size < 1:
            raise ConfigError(
                f"stage '{name}' needs methods and a batch size of at least 1, not "
                f'{len(methods)} methods and batch_size={batch_size}',
                token=name,
            )
        self.model = model
        self.inputs = (model,) if isinstance(model, str) else ()
        self.methods = {
            title: build_as(SEED_HEADS, head, SeedHead)
            for title, head in methods.items()
        }
        self.dataset = dict(dataset, test_mode=True)
        self.input_size = (input_size[0], input_size[1])
        self.batch_size = batch_size

    @abstractmethod
    def measures(self) -> dict[str, M]:
        """Makes an empty accumulator for each measure, by name."""

    @abstractmethod
    def measure(self, model: WSSSClassifier, batch: Batch, into: dict[str, M]) -> None:
        """Measures a batch and adds the results to the accumulators ``into``."""

    @abstractmethod
    def report(self, out: Path, total: dict[str, M]) -> tuple[Any, dict[str, float]]:
        """Writes the tables from the accumulators of all images.

        Returns:
            The content of ``scores.json``, and the metrics of the stage.
        """

    def check(self, model: WSSSClassifier, dataset: WSSSDataset) -> None:
        """Refuses a data set that does not fit the classifier, before any measurement."""

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Measures the batches that have not been measured yet, then writes the tables."""
        model = load_classifier(self.model, inputs)
        cfg = dict(self.dataset, require_images=False)
        dataset = build_as(DATASETS, cfg, WSSSDataset)
        self.check(model, dataset)
        ids = dataset.ids
        starts = range(0, len(ids), self.batch_size)
        batches = [range(len(ids))[i : i + self.batch_size] for i in starts]
        mine = share_of(batches)
        todo = [b for b in mine if not _part(out, b).is_file()]
        with ProgressBar(self.name, sum(map(len, mine)), quiet=rank() != 0) as bar:
            bar.begin_at(bar.total - sum(map(len, todo)))
            failures = Failures(out, bar)
            read = in_threads(partial(self._read, dataset), todo)

            def measure(loaded: Loaded) -> tuple[Path, Arrays] | None:
                """The results of a batch, and the path of their file; None without photos."""
                _part(out, [*loaded], whole=False).unlink(missing_ok=True)
                good = failures.without(loaded, ids)
                path = _part(out, [*loaded], len(good) == len(loaded))
                return (path, self._measure(model, dataset, good)) if good else None

            written = in_threads(_save, map(measure, read))
            for indices, _ in zip(todo, written, strict=True):
                bar.advance(len(indices))
            failed = failures.write(ids)
        barrier()
        numbers = self._sum_up(out, batches) if rank() == 0 else {}
        return dict(images=len(ids), failed=failed) | gather(numbers)[0]

    def parts(self) -> tuple[SeedHead, ...]:
        """The seed heads of all methods."""
        return tuple(self.methods.values())

    def measured(self) -> Measured:
        """Declares the images, one view of each, and a classifier that is not a stage's."""
        own, name = Measured(), self.model
        if not isinstance(name, str):
            network, cards = begun_network(self.name, dict(model=name))
            own = Measured(networks=(network,), begun_with=cards)
            name = str(name.get('name', name['type']))
        return replace(
            own,
            images=self.dataset,
            masks=self.needs_masks,
            labels=Tags.NONE(),
            scales=(1.0,),
            flip=False,
            protocol=dict(input_size='x'.join(map(str, self.input_size))),
            details=dict(classifier=name, methods=list(self.methods)),
        )

    def _measure(
        self, model: WSSSClassifier, dataset: WSSSDataset, loaded: Mapping[int, Pair]
    ) -> Arrays:
        """Measures one batch."""
        into = self.measures()
        labels = np.stack([dataset.labels(index) for index in loaded])
        self.measure(model, _to_batch(loaded, labels), into)
        return {
            f'{title}/{key}': rows
            for title, measure in into.items()
            for key, rows in measure.state().items()
        }

    def _read(self, dataset: WSSSDataset, indices: Sequence[int]) -> Loaded:
        return {index: attempt(self._load, dataset, index) for index in indices}

    def _load(self, dataset: WSSSDataset, index: int) -> Pair:
        """Loads and resizes a photo ``(H, W, 3)`` and, if needed, its mask ``(H, W)``."""
        photo = dataset.load_image(index)
        mask = dataset.load_mask(index) if self.needs_masks else None
        if mask is not None and mask.shape != photo.shape[:2]:
            (rows, columns), (height, width) = mask.shape, photo.shape[:2]
            raise DataError(
                f'its mask is {rows}x{columns} but its photo {height}x{width}: give the '
                'mask that belongs to it'
            )
        size = self.input_size[::-1]
        photo = np.array(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))
        if mask is not None:
            resized = Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)
            mask = np.array(resized)
            if (mask == IGNORE).all():
                raise DataError(
                    'every pixel of its mask is ignored: take its id out of the list'
                )
        return photo, mask

    def _sum_up(self, out: Path, batches: Sequence[Sequence[int]]) -> dict[str, float]:
        total = self.measures()
        for arrays in _parts(out, batches):
            for title, measure in total.items():
                measure.load({k: arrays[f'{title}/{k}'] for k in measure.shapes})
        scores, numbers = self.report(out, total)
        save_json(out / SCORES_FILE, scores)
        return numbers


def _part(out: Path, indices: Sequence[int], whole: bool = True) -> Path:
    """Path of the results of a batch; a batch with failed images is measured again."""
    ending = '' if whole else '_not_whole'
    return out / PARTS / f'{indices[0]:07}{ending}.npz'


def _save(measured: tuple[Path, Arrays] | None) -> None:
    if measured is not None:
        save_npz(*measured)


def _parts(out: Path, batches: Sequence[Sequence[int]]) -> Iterator[Arrays]:
    """Yields the results of all batches, in order; a batch without images has none."""
    for indices in batches:
        for path in (_part(out, indices), _part(out, indices, whole=False)):
            if path.is_file():
                yield load_npz(path)


def _to_batch(loaded: Mapping[int, Pair], labels: np.ndarray) -> Batch:
    place = device()
    photos, masks = zip(*loaded.values(), strict=True)
    pixels = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2)
    return Batch(
        images=pixels.to(place, torch.float32).div(255).contiguous(),
        labels=torch.from_numpy(labels).to(place),
        masks=None if masks[0] is None else np.stack(masks),
    )
