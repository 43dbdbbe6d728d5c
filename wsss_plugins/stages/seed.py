"""A stage that makes the seeds of a data set with a seed head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.failures import Failures
from wsss_plugins.engine.flow import attempt, in_threads
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import rank, share_of
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.progress import ProgressBar
from wsss_plugins.registry import DATASETS, SEED_HEADS, STAGES, build_as
from wsss_plugins.seeds import MultiScaleFlip, SeedHead
from wsss_plugins.stages.classes import refuse_other_class_names
from wsss_plugins.stages.features import reading_kept
from wsss_plugins.stages.images import as_image, as_input, batches_of_one_size
from wsss_plugins.stages.train import load_trained
from wsss_plugins.structures import Seed
from wsss_plugins.structures.card import Tags
from wsss_plugins.structures.layout import seed_path
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.seed import SmallSeed
from wsss_plugins.structures.small_maps import SmallMaps, Step
from wsss_plugins.structures.tiles import LargeImages
from wsss_plugins.structures.views import resized

Photos = dict[int, np.ndarray | DataError]
"""The photo ``(H, W, 3)`` uint8 of each index, or why it could not be read."""

Size = tuple[int, int]
"""``(H, W)``."""


class _Made(NamedTuple):
    """What the seed of a photo is made of.

    Attributes:
        maps: Of the K classes, not scaled yet.
        size: ``(H, W)`` of the photo.
        classes: ``(K,)`` int64.
        confidence: ``(K,)`` float32, or None.
    """

    maps: SmallMaps
    size: Size
    classes: Tensor
    confidence: Tensor | None


@STAGES.register_module()
class SeedStage(Stage):
    """Writes ``seeds/<id>.npz`` for every image: maps of its labels, scaled to [0, 1].

    The maps are kept as small as the head makes them. :meth:`Seed.load` enlarges them by
    the interpolation that would have enlarged them here. Photos that are missing or damaged
    are left out; the metric ``failed`` is their number.

    Args:
        name: Name of the stage.
        model: Name of the stage that trained the classifier.
        head: A :class:`SeedHead` or its config.
        dataset: Config of the images and their image-level labels.
        scales: Scale factors of the image, see :class:`MultiScaleFlip`.
        flip: True to also use the mirrored image, see :class:`MultiScaleFlip`.
        align_corners: How maps are resized, see :class:`MultiScaleFlip`.
        input_size: ``(H, W)`` to which every image is resized; by default its own size,
            rounded to multiples of the backbone's stride.
        batch_size: Number of images in one forward pass.
        min_probability: For images without known labels: maps are made of the classes to
            which the model assigns at least this probability, and seeds hold the
            probabilities as :attr:`Seed.confidence`. By default maps are made of the
            image-level labels.
        max_side: For large photos: the longest side, in pixels, of the reduced copy on
            which the model runs. Maps are enlarged to the size of the photo.
        tile: For large photos: the longest side, in pixels, of the tiles on which the
            model runs. Maps of overlapping tiles are blended. Memory then depends on the
            size of a tile and of the maps, and ``batch_size`` counts tiles.
        overlap: Smallest overlap of neighbouring tiles, in pixels.
        half: Whether to store scores in half precision.
        features: Name of a :class:`FeatureStage`, whose features stand for the views that
            it has; the network computes the others.
        resolution: The size at which maps are kept: ``'grid'``, that of the maps of the
            head, for each scale; ``'full'``, that of the photo; or a share of the sides in
            (0, 1]. With ``max_side`` the share is of the reduced copy. Maps that are blended
            of tiles have no grid: ``'grid'`` keeps them at the size of the copy.

    Raises:
        ConfigError: ``min_probability`` is not in (0, 1]; ``resolution`` is neither of its
            names nor in (0, 1]; ``max_side`` or ``tile`` is
            given together with ``input_size``; or ``max_side``, ``tile`` or ``overlap``
            is out of range (see :class:`~wsss_plugins.structures.tiles.LargeImages`).
    """

    needs_every_image = False

    reads_masks = False

    def __init__(
        self,
        name: str,
        model: str,
        head: dict[str, Any] | SeedHead,
        dataset: dict[str, Any],
        scales: Sequence[float] = (1.0,),
        flip: bool = True,
        align_corners: bool = False,
        input_size: tuple[int, int] | None = None,
        batch_size: int = 32,
        min_probability: float | None = None,
        max_side: int | None = None,
        tile: int | None = None,
        overlap: int = 64,
        half: bool = True,
        features: str | None = None,
        resolution: float | str = 'grid',
    ) -> None:
        super().__init__(name)
        if resolution not in ('grid', 'full') and not _is_share(resolution):
            raise ConfigError(
                f"stage '{name}' needs resolution 'grid', 'full' or a share of the sides in "
                f'(0, 1], not {resolution!r}',
                token='resolution',
            )
        self.large = LargeImages(max_side, tile, overlap)
        if self.large and input_size:
            raise ConfigError(
                f"stage '{name}' has input_size, which is for photos as a whole, and "
                'max_side or tile: keep one',
                token='input_size',
            )
        if min_probability is not None and not 0 < min_probability <= 1:
            raise ConfigError(
                f'min_probability must be in (0, 1], not {min_probability}',
                token='min_probability',
            )
        self.model = model
        self.features = features
        self.inputs = (model, features) if features else (model,)
        self.head = build_as(SEED_HEADS, head, SeedHead)
        self.maps = MultiScaleFlip(self.head, scales, flip, align_corners)
        self.dataset = dataset
        self.input_size = tuple(input_size) if input_size else None
        self.batch_size = batch_size
        self.min_probability = min_probability
        self.half = half
        self.resolution = resolution

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Makes the seeds of all images that have none yet."""
        model = load_trained(inputs[self.model], WSSSClassifier)
        cfg = dict(self.dataset, require_images=False)
        dataset = build_as(DATASETS, cfg, WSSSDataset)
        refuse_other_class_names(model, dataset)
        ids = dataset.ids
        # Batches are formed before workers share them: rounding depends on the batch.
        together = 1 if self.large else self.batch_size
        mine = share_of(list(batches_of_one_size(dataset, together)))
        todo = [b for b in mine if any(not seed_path(out, ids[i]).is_file() for i in b)]
        with (
            ProgressBar(self.name, sum(map(len, mine)), quiet=rank() != 0) as bar,
            reading_kept(model, inputs, self.features, self.name),
        ):
            bar.begin_at(bar.total - sum(map(len, todo)))
            failures = Failures(out, bar)

            def read(indices: Sequence[int]) -> tuple[Photos, Tensor | None]:
                """The photos of a batch, and what the network sees of those without fault."""
                photos = {
                    index: attempt(dataset.load_image, index) for index in indices
                }
                good = [p for p in photos.values() if not isinstance(p, DataError)]
                return photos, self._input(model, good)

            def make(found: tuple[Photos, Tensor | None]) -> dict[Path, _Made]:
                """The maps of a batch, by their paths; photos that failed have none."""
                photos = failures.without(found[0], ids)
                labels = [dataset.labels(index) for index in photos]
                made = self._made(model, list(photos.values()), labels, found[1])
                paths = [seed_path(out, ids[index]) for index in photos]
                return dict(zip(paths, made, strict=True))

            def save(made: dict[Path, _Made]) -> None:
                """Writes the seeds of a batch."""
                for path, maps in made.items():
                    self._kept(*maps).save(path)

            threads = 2 if self.large else None
            made = map(make, in_threads(read, todo, threads))
            written = in_threads(save, made, threads)
            for indices, _ in zip(todo, written, strict=True):
                bar.advance(len(indices))
            failed = failures.write(ids)
        return dict(images=len(ids), failed=failed)

    def parts(self) -> tuple[SeedHead]:
        """The seed head."""
        return (self.head,)

    def measured(self) -> Measured:
        """Declares the images, the views and the image-level labels that are used."""
        least = self.min_probability
        return Measured(
            images=self.dataset,
            scales=tuple(map(float, self.maps.scales)),
            flip=self.maps.flip,
            labels=Tags.TRUE()
            if least is None
            else Tags.PREDICTED(f'probability >= {least:g}'),
            details=dict(head=type(self.head).__name__, **self.large.provenance()),
        )

    def seeds_of(
        self,
        model: WSSSClassifier,
        photos: Sequence[np.ndarray],
        image_labels: Sequence[np.ndarray],
    ) -> Iterator[Seed]:
        """Makes the seeds of photos ``(H, W, 3)`` of equal size, as :meth:`Seed.load` reads them.

        Args:
            model: The classifier.
            photos: ``(H, W, 3)`` uint8 each.
            image_labels: ``(C,)`` in {0, 1} for each photo.

        Yields:
            The seed of each photo, in order, at its size.
        """
        images = self._input(model, photos)
        for made in self._made(model, photos, image_labels, images):
            seed = self._kept(*made)
            del made  # a map of a large photo takes as much memory as the photo
            yield seed.enlarged()

    def _input(
        self, model: WSSSClassifier, photos: Sequence[np.ndarray]
    ) -> Tensor | None:
        """What the classifier sees of photos of equal size, if it sees them as a whole."""
        if self.large or not photos:
            return None
        return as_input(model, photos, self.input_size)

    def _made(
        self,
        model: WSSSClassifier,
        photos: Sequence[np.ndarray],
        image_labels: Sequence[np.ndarray],
        images: Tensor | None,
    ) -> Iterator[_Made]:
        """Makes the maps of photos of equal size; ``images`` is of :meth:`_input`."""
        if images is None:
            for photo, each in zip(photos, image_labels, strict=True):
                yield self._made_of_large(model, photo, each)
            return
        size = (photos[0].shape[0], photos[0].shape[1])
        labels = torch.from_numpy(np.stack(image_labels)).to(images)
        if self.min_probability is not None:
            with torch.no_grad():
                sure = model.head.scores(model.backbone(images))
            labels = (sure >= self.min_probability).to(images)
        scales = [maps.cpu() for maps in self._maps(model, images, labels, size)]
        for n, present in enumerate(labels.cpu()):
            classes = present.nonzero()[:, 0]
            maps = self._enlargeable([each[n, classes] for each in scales], size)
            sure_of = None if self.min_probability is None else sure[n].cpu()[classes]
            yield _Made(maps, size, classes, sure_of)

    def _maps(
        self, model: WSSSClassifier, images: Tensor, labels: Tensor, size: Size
    ) -> list[Tensor]:
        """Maps ``(N, C, h, w)`` for photos of ``size``, which sum to those of the photo."""
        if self.resolution == 'grid':
            return self.maps.parts(model, images, labels)
        return [self.maps(model, images, labels, self._kept_size(size))]

    def _kept_size(self, size: Size) -> Size:
        """``(h, w)`` of the maps that are kept of a photo of ``size``, without a grid."""
        if isinstance(self.resolution, str):
            return size
        return ceil(self.resolution * size[0]), ceil(self.resolution * size[1])

    def _enlargeable(self, scales: Sequence[Tensor], size: Size) -> SmallMaps:
        """Maps ``(K, h, w)`` of every scale, with the step to ``size`` where it is needed.

        Maps that have no fewer cells than the photo together are added at its size.
        """
        if len(scales) == 1 and tuple(scales[0].shape[1:]) == size:
            return SmallMaps((scales[0],))
        maps = SmallMaps(tuple(scales), (Step(*size, self.maps.align_corners),))
        cells = sum(each.shape[1] * each.shape[2] for each in scales)
        return maps if cells < size[0] * size[1] else SmallMaps((maps.enlarged(),))

    def _kept(
        self, maps: SmallMaps, size: Size, classes: Tensor, confidence: Tensor | None
    ) -> SmallSeed:
        """The seed of maps as it is written."""
        maps = maps.normalised().resized(size)
        if self.resolution == 'full':
            maps = SmallMaps((maps.enlarged(),))
        return SmallSeed(maps.half() if self.half else maps, classes, confidence)

    def _made_of_large(
        self, model: WSSSClassifier, photo: np.ndarray, image_labels: np.ndarray
    ) -> _Made:
        """Makes the maps of a photo ``(H, W, 3)`` that is reduced or divided into tiles."""
        copy = self.large.copy_of(as_image(photo))
        whole, in_tiles = (copy.shape[1], copy.shape[2]), self.large.divides(copy)
        labels, sure = torch.from_numpy(image_labels), None
        if self.min_probability is not None:
            with torch.no_grad():
                views = (
                    as_input(model, _photos(c[None])) for c in self.large.crops(copy)
                )
                scores = [model.head.scores(model.backbone(view))[0] for view in views]
            # The highest over all tiles, since an object may be in one tile alone.
            sure = torch.stack(scores).amax(0).cpu()
            labels = (sure >= self.min_probability).float()
        classes = labels.nonzero()[:, 0]

        def prepared(crops: Tensor) -> tuple[Tensor, Tensor, Size]:
            """Input, labels and size of crops ``(N, 3, h, w)``."""
            images = as_input(model, _photos(crops))
            every = labels.to(images).expand(len(crops), -1)
            return images, every, (crops.shape[2], crops.shape[3])

        def of_tiles(crops: Tensor) -> Tensor:
            """Maps ``(N, K, h, w)`` of the labelled classes, at the size of the crops."""
            maps = self.maps(model, *prepared(crops))
            return maps[:, classes.to(maps.device)]

        scales = [torch.zeros(0, *whole)]
        if len(classes) and in_tiles:
            found = self.large.maps(of_tiles, copy, self.batch_size)
            scales = [resized(found[None], self._kept_size(whole))[0]]
        elif len(classes):
            made = self._maps(model, *prepared(copy[None]))
            scales = [maps[0].cpu()[classes] for maps in made]
        size = (photo.shape[0], photo.shape[1])
        maps = self._enlargeable(scales, whole)
        return _Made(maps, size, classes, None if sure is None else sure[classes])


def _is_share(resolution: object) -> bool:
    return isinstance(resolution, float | int) and 0 < resolution <= 1


def _photos(crops: Tensor) -> list[np.ndarray]:
    """Turns crops ``(N, 3, H, W)`` uint8 into photos ``(H, W, 3)`` uint8."""
    return list(crops.permute(0, 2, 3, 1).numpy())
