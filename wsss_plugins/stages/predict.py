"""A stage that predicts label maps with a trained segmentor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

            def predicted(index: int, photo: np.ndarray) -> tuple[Path, np.ndarray]:
                """The label map of a photo, and the path of its file."""
                tags = dataset.labels(index) > 0 if self.only_tagged else None
                label = self._label(model, as_image(photo), tags)
                return label_path(out, names[index]), label.numpy()

            threads = 2 if self.large else None
            read = in_threads(dataset.load_image, todo, threads)
            made = map(predicted, todo, read)
            for _ in in_threads(lambda pair: save_label_map(*pair), made, threads):
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

    def _label(
        self, model: BaseSegmentor, image: Tensor, tags: np.ndarray | None = None
    ) -> Tensor:
        """Label map ``(H, W)`` uint8 of an image ``(3, H, W)`` uint8 RGB.

        Args:
            model: The segmentor.
            image: The image.
            tags: Which foreground classes may occur, ``(classes - 1,)`` bool; by default
                all.
        """
        copy = self.large.copy_of(image)
        size = (image.shape[1], image.shape[2])
        whole = copy.shape == image.shape and not self.refiners.refiners

        def predict(crops: Tensor) -> Tensor:
            """Probabilities ``(1, classes, h, w)`` of one crop ``(1, 3, h, w)``."""
            (crop,) = crops
            found = self.probabilities(model, crop)
            return (found if tags is None else _among(found, tags))[None]

        found = self.large.maps(predict, copy, finish=_winner if whole else None)
        if whole:
            return found
        if self.refiners.refiners:
            found = self._refined(copy, found)
        return enlarged(found, size, _winner)

    @torch.no_grad()
    def _refined(self, image: Tensor, shares: Tensor) -> Tensor:
        """Refines probabilities ``(classes, H, W)``; the result has the same shape."""
        kept = (shares[1:].amax((1, 2)) > self.refine_above).nonzero()[:, 0]
        seed = Seed(shares[1:][kept], kept, shares[0]).to(device())
        refined = self.refiners(image.to(device()), seed).probabilities().cpu()
        found = torch.zeros_like(shares)
        found[0], found[kept + 1] = refined[0], refined[1:]
        return found

    @torch.no_grad()
    def probabilities(self, model: BaseSegmentor, image: Tensor) -> Tensor:
        """Merged probabilities ``(classes, H, W)`` of an image ``(3, H, W)`` uint8 RGB."""
        size = (image.shape[1], image.shape[2])
        pixels = _normalised(model, image)
        merged, count = torch.zeros(()), 0
        backbone = getattr(model, 'backbone', None)
        multiple = getattr(backbone, 'multiple', 1)
        for view, mirrored in self._views(pixels, multiple):
            found = _predict(model, view, size)
            if mirrored:
                found = found.flip(-1)
            if count == 0:
                merged = found
            elif self.merge == 'max':
                merged = torch.maximum(merged, found, out=merged)
            else:
                merged += found
            count += 1
            del found  # keeps two maps in memory, not three
        return merged if self.merge == 'max' else merged / count

    def _views(self, pixels: Tensor, multiple: int) -> Iterator[tuple[Tensor, bool]]:
        """Yields the image at every scale, with whether it is mirrored."""
        whole = scaled(pixels, 1.0, multiple)
        for scale in self.scales:
            view = scaled(whole, scale, multiple)
            yield view, False
            if self.flip:
                yield view.flip(-1), True


def _winner(probabilities: Tensor) -> Tensor:
    """The label of each pixel, ``(rows, W)`` uint8, from ``(classes, rows, W)``."""
    return probabilities.argmax(0).to(torch.uint8)


def _among(probabilities: Tensor, tags: np.ndarray) -> Tensor:
    """Probabilities ``(classes, H, W)`` of the background and the tagged classes alone."""
    allowed = torch.from_numpy(np.append(True, tags)).to(probabilities)
    kept = probabilities * allowed[:, None, None]
    return kept / kept.sum(0).clamp(min=torch.finfo(kept.dtype).tiny)


def _normalised(model: BaseSegmentor, image: Tensor) -> Tensor:
    """Normalises an image as the model's preprocessor does, ``(1, 3, H, W)``."""
    prepare = model.data_preprocessor
    pixels = image[None].to(device(), torch.float32)
    if getattr(prepare, '_channel_conversion', False):
        pixels = pixels.flip(1)
    if not hasattr(prepare, 'mean'):
        return pixels
    return (pixels - prepare.mean) / prepare.std


def _predict(model: BaseSegmentor, view: Tensor, size: tuple[int, int]) -> Tensor:
    """Probabilities ``(classes, H, W)`` of one view, resized to ``size``."""
    shape = tuple(view.shape[-2:])
    metas = [dict(img_shape=shape, ori_shape=shape)]
    if dict(getattr(model, 'test_cfg', None) or {}).get('mode') == 'slide':
        logits = model.slide_inference(view, metas)
    else:
        logits = model.encode_decode(view, metas)
    logits = F.interpolate(logits, size=size, mode='bilinear', align_corners=False)
    return logits.softmax(1)[0]
