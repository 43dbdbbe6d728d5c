"""A stage that predicts label maps with a trained segmentor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor, nn

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.flow import in_threads
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import device, rank, share_of
from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.progress import ProgressBar
from wsss_plugins.refiners import RefinerChain
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.classes import refuse_other_class_names
from wsss_plugins.stages.features import reading_kept
from wsss_plugins.stages.images import as_image
from wsss_plugins.stages.train import load_trained
from wsss_plugins.structures import Seed, save_label_map
from wsss_plugins.structures.card import Tags
from wsss_plugins.structures.layout import label_path
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.tiles import LargeImages, enlarged
from wsss_plugins.structures.views import scaled

MERGES = ('mean', 'max')
BEHIND = 2
"""Number of views, and of photos, that threads work on beside the network. Few, since each
takes the memory of the probabilities of all classes."""


@dataclass
class _Photo:
    """A photo that is predicted.

    Attributes:
        path: Where its label map goes.
        size: ``(H, W)`` of the photo.
        copy: The photo or its smaller copy, ``(3, h, w)`` uint8 RGB.
        pixels: What the network sees of it, ``(1, 3, h', w')``, normalised; None if the
            copy is seen in tiles.
        tags: Which foreground classes may occur, ``(classes - 1,)`` bool; None for all.
    """

    path: Path
    size: tuple[int, int]
    copy: Tensor
    pixels: Tensor | None
    tags: np.ndarray | None

    def among_tags(self, found: Tensor) -> Tensor:
        """Probabilities ``(classes, h, w)`` among the tags, where tiles are not already."""
        found = found.cpu()
        return found if self.pixels is None else _among(found, self.tags)


@STAGES.register_module()
class PredictStage(Stage):
    """Writes ``labels/<id>.png``, the prediction of a segmentor, for every image.

    The class probabilities of all scales and of the mirrored images are merged one by
    one, so that memory does not grow with their number. The stage reads no labels.

    Args:
        name: Name of the stage.
        model: Name of the stage that trained the segmentor.
        dataset: Config of the images.
        scales: Scale factors of the image.
        flip: True to also use the mirrored image at every scale.
        merge: ``'mean'`` of the probabilities, or ``'max'``, as in the released segmentor
            of MCTformer (2022).
        refiners: Configs of refiners of the probabilities, such as a dense CRF; they run
            on the GPU if there is one. Stages whose models they need are read too.
        refine_above: Classes whose probability exceeds this value at no pixel are left
            out of the refinement and of the result, since a dense CRF over all 81 classes
            of COCO is slow. With 0, as in the published methods, all classes are kept.
        only_tagged: True to leave out classes that are not image-level labels of the
            image, before the refinement: the probabilities of the background and of the
            tagged classes are divided by their sum. For training images, whose
            predictions are the pseudo labels of a second round.
        max_side: For large photos: the longest side, in pixels, of the reduced copy on
            which the model and the refiners run. Probabilities are enlarged to the size
            of the photo.
        tile: For large photos: the longest side, in pixels, of the tiles on which the
            model runs. Probabilities of overlapping tiles are blended. Without refiners,
            only one row of tiles is in memory at a time.
        overlap: Smallest overlap of neighbouring tiles, in pixels.
        features: Name of a :class:`FeatureStage`, whose features stand for the views that
            it has; the network computes the others.

    Raises:
        ConfigError: ``scales`` is empty or has a value of 0 or less, ``merge`` is neither
            'mean' nor 'max', or ``max_side``, ``tile`` or ``overlap`` is out of range
            (see :class:`~wsss_plugins.structures.tiles.LargeImages`).
    """

    reads_masks = False

    def __init__(
        self,
        name: str,
        model: str,
        dataset: dict[str, Any],
        scales: Sequence[float] = (1.0,),
        flip: bool = True,
        merge: str = 'mean',
        refiners: Sequence[dict[str, Any]] = (),
        refine_above: float = 0.0,
        only_tagged: bool = False,
        max_side: int | None = None,
        tile: int | None = None,
        overlap: int = 64,
        features: str | None = None,
    ) -> None:
        super().__init__(name)
        self.large = LargeImages(max_side, tile, overlap)
        if not scales or min(scales) <= 0:
            raise ConfigError(
                f"stage '{name}' needs scales > 0, at least one, not {tuple(scales)}",
                token='scales',
            )
        if merge not in MERGES:
            raise ConfigError(
                f"unknown merge '{merge}': {near_names(merge, MERGES)}", token=merge
            )
        self.model = model
        self.dataset = dict(dataset, test_mode=True)
        self.scales = tuple(scales)
        self.flip = flip
        self.merge = merge
        self.refiners = RefinerChain(refiners)
        self.refine_above = refine_above
        self.only_tagged = only_tagged
        self.features = features
        needed = (model, *self.refiners.stages, features)
        self.inputs = tuple(dict.fromkeys(filter(None, needed)))

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Predicts the images that have no label map yet."""
        model = load_trained(inputs[self.model], BaseSegmentor)
        needed = self.refiners.stages
        self.refiners.bind({s: load_trained(inputs[s], nn.Module) for s in needed})
        with reading_kept(model, inputs, self.features, self.name):
            return self.predict(model, out)

    def predict(self, model: BaseSegmentor, out: Path) -> dict[str, Any]:
        """Predicts the images that have no label map in ``out`` yet.

        Args:
            model: The segmentor, in evaluation mode, on this worker's device.
            out: Folder to write to.

        Returns:
            The metric ``images``, the number of all images.

        Raises:
            DataError: The model was trained for other classes than the data set has.
        """
        dataset = build_as(DATASETS, self.dataset, WSSSDataset)
        refuse_other_class_names(model, dataset)
        names = dataset.ids
        mine = share_of(range(len(names)))
        todo = [i for i in mine if not label_path(out, names[i]).is_file()]
        with ProgressBar(self.name, len(mine), quiet=rank() != 0) as bar:
            bar.begin_at(len(mine) - len(todo))

            def read(index: int) -> _Photo:
                """Reads a photo, with what the network will see of it."""
                image = as_image(dataset.load_image(index))
                size = (image.shape[1], image.shape[2])
                copy = self.large.copy_of(image)
                seen = None if self.large.divides(copy) else _pixels(model, copy)
                tags = dataset.labels(index) > 0 if self.only_tagged else None
                return _Photo(label_path(out, names[index]), size, copy, seen, tags)

            def write(seen: tuple[_Photo, Tensor]) -> None:
                """Makes the label map of a photo, and writes it."""
                photo, found = seen
                save_label_map(photo.path, self._label(photo, found).numpy())

            threads = 2 if self.large else None
            photos = in_threads(read, todo, threads)
            for _ in in_threads(write, self._seen(model, photos), BEHIND):
                bar.advance()
        return dict(images=len(names))

    def parts(self) -> tuple[RefinerChain]:
        """The refiners of the probabilities."""
        return (self.refiners,)

    def measured(self) -> Measured:
        """Declares the images, the views, the refiners, and the labels that it reads."""
        return Measured(
            images=self.dataset,
            scales=tuple(map(float, self.scales)),
            flip=self.flip,
            labels=Tags.TRUE() if self.only_tagged else Tags.NONE(),
            details=dict(
                merge=self.merge,
                refiners=[type(r).__name__ for r in self.refiners.refiners],
                refine_above=self.refine_above,
                **self.large.provenance(),
            ),
        )

    def _seen(
        self, model: BaseSegmentor, photos: Iterable[_Photo]
    ) -> Iterator[tuple[_Photo, Tensor]]:
        """Yields the merged, refined probabilities ``(classes, h, w)`` of each copy.

        Network and refiners run in the calling thread; threads enlarge what the network saw
        before. Of a photo in tiles without refiners, the label map ``(h, w)`` is yielded.
        """
        views = in_threads(_enlarge, self._views_of(model, photos), BEHIND)
        for photo, first in views:
            more = 0 if photo.pixels is None else self._count - 1
            found = self._merged(chain([first], (v for _, v in islice(views, more))))
            if self.refiners.refiners:
                found = self._refined(photo.copy, photo.among_tags(found))
            yield photo, found

    def _views_of(
        self, model: BaseSegmentor, photos: Iterable[_Photo]
    ) -> Iterator[tuple[_Photo, Callable[[], Tensor]]]:
        """Runs the network on all views of all photos; yields what enlarges each.

        Photos in tiles have one view, their tiles put together.
        """
        for photo in photos:
            if photo.pixels is None:
                yield photo, partial(Tensor.cpu, self._in_tiles(model, photo))
                continue
            for view in self._views(model, photo.pixels, photo.copy):
                yield photo, view

    def _in_tiles(self, model: BaseSegmentor, photo: _Photo) -> Tensor:
        """What :meth:`_seen` yields of a photo in tiles, of tagged classes alone."""

        def predict(crops: Tensor) -> Tensor:
            """Probabilities ``(1, classes, h, w)`` of one crop ``(1, 3, h, w)``."""
            (crop,) = crops
            return _among(self.probabilities(model, crop), photo.tags)[None]

        whole = photo.copy.shape[1:] == photo.size and not self.refiners.refiners
        return self.large.maps(predict, photo.copy, finish=_winner if whole else None)

    def _label(self, photo: _Photo, found: Tensor) -> Tensor:
        """Label map ``(H, W)`` uint8 of a photo, from what :meth:`_seen` yielded."""
        if found.dim() == 2:
            return found
        if not self.refiners.refiners:
            found = photo.among_tags(found)
        return enlarged(found, photo.size, _winner)

    @torch.no_grad()
    def _refined(self, image: Tensor, shares: Tensor) -> Tensor:
        """Refines probabilities ``(classes, H, W)``; the result has the same shape."""
        kept = (shares[1:].amax((1, 2)) > self.refine_above).nonzero()[:, 0]
        seed = Seed(shares[1:][kept], kept, shares[0]).to(device())
        refined = self.refiners(image.to(device()), seed).probabilities().cpu()
        found = torch.zeros_like(shares)
        found[0], found[kept + 1] = refined[0], refined[1:]
        return found

    def probabilities(self, model: BaseSegmentor, image: Tensor) -> Tensor:
        """Merged probabilities ``(classes, H, W)`` of an image ``(3, H, W)`` uint8 RGB."""
        views = self._views(model, _pixels(model, image), image)
        return self._merged(view() for view in views)

    @property
    def _count(self) -> int:
        """Number of views of an image."""
        return len(self.scales) * (1 + self.flip)

    def _merged(self, views: Iterator[Tensor]) -> Tensor:
        """Merges the probabilities ``(classes, H, W)`` of views one by one."""
        merged, count = next(views), 1
        for found in views:
            if self.merge == 'max':
                merged = torch.maximum(merged, found, out=merged)
            else:
                merged += found
            count += 1
            del found  # keeps two maps in memory, not three
        return merged if self.merge == 'max' or count == 1 else merged / count

    def _views(
        self, model: BaseSegmentor, pixels: Tensor, image: Tensor
    ) -> Iterator[Callable[[], Tensor]]:
        """Runs the network on the pixels of an image at every scale, and mirrored.

        Yields:
            What enlarges the result to the probabilities ``(classes, H, W)`` of the image.
        """
        size = (image.shape[1], image.shape[2])
        multiple = _multiple(model)
        for scale in self.scales:
            view = scaled(pixels, scale, multiple)
            yield partial(_probabilities, _logits(model, view), size)
            if self.flip:
                logits = _logits(model, view.flip(-1))
                yield partial(_probabilities, logits, size, mirrored=True)


def _enlarge(
    seen: tuple[_Photo, Callable[[], Tensor]],
) -> tuple[_Photo, Tensor]:
    photo, view = seen
    return photo, view()


def _winner(probabilities: Tensor) -> Tensor:
    """The label of each pixel, ``(rows, W)`` uint8, from ``(classes, rows, W)``.

    Of equal probabilities the first class wins, as in an argmax, which is several times
    slower over the first axis.
    """
    highest = probabilities[0].clone()
    label = torch.zeros_like(highest, dtype=torch.uint8)
    for number, each in enumerate(probabilities[1:], start=1):
        label.masked_fill_(each > highest, number)
        torch.maximum(highest, each, out=highest)
    return label


def _among(probabilities: Tensor, tags: np.ndarray | None) -> Tensor:
    """Probabilities ``(classes, H, W)`` of the background and the tagged classes alone."""
    if tags is None:
        return probabilities
    allowed = torch.from_numpy(np.append(True, tags)).to(probabilities)
    kept = probabilities * allowed[:, None, None]
    return kept / kept.sum(0).clamp(min=torch.finfo(kept.dtype).tiny)


def _multiple(model: BaseSegmentor) -> int:
    """What the sides of the pixels must be multiples of."""
    return getattr(getattr(model, 'backbone', None), 'multiple', 1)


def _pixels(model: BaseSegmentor, image: Tensor) -> Tensor:
    """What the network sees of an image ``(3, H, W)`` uint8: ``(1, 3, h, w)``, normalised."""
    return scaled(_normalised(model, image), 1.0, _multiple(model))


def _normalised(model: BaseSegmentor, image: Tensor) -> Tensor:
    """Normalises an image as the model's preprocessor does, ``(1, 3, H, W)``."""
    prepare = model.data_preprocessor
    pixels = image[None].to(device(), torch.float32)
    if getattr(prepare, '_channel_conversion', False):
        pixels = pixels.flip(1)
    if not hasattr(prepare, 'mean'):
        return pixels
    return (pixels - prepare.mean) / prepare.std


@torch.no_grad()
def _logits(model: BaseSegmentor, view: Tensor) -> Tensor:
    """Logits ``(1, classes, h, w)`` of one view."""
    shape = tuple(view.shape[-2:])
    metas = [dict(img_shape=shape, ori_shape=shape)]
    if dict(getattr(model, 'test_cfg', None) or {}).get('mode') == 'slide':
        return model.slide_inference(view, metas)
    return model.encode_decode(view, metas)


def _probabilities(
    logits: Tensor, size: tuple[int, int], mirrored: bool = False
) -> Tensor:
    """Probabilities ``(classes, H, W)`` of the logits of one view, resized to ``size``."""
    logits = F.interpolate(logits, size=size, mode='bilinear', align_corners=False)
    found = logits.softmax(1)[0]
    return found.flip(-1) if mirrored else found
