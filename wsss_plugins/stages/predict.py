"""Predictions of a trained segmentor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor, nn

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import device, rank, share_of
from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.progress import ProgressBar
from wsss_plugins.refiners import RefinerChain
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.classes import refuse_other_class_names
from wsss_plugins.stages.images import as_image
from wsss_plugins.stages.train import load_trained
from wsss_plugins.structures import Seed, save_label_map
from wsss_plugins.structures.card_parts import Tags
from wsss_plugins.structures.layout import label_path
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.tiles import LargeImages, enlarged

MERGES = ('mean', 'max')


@STAGES.register_module()
class PredictStage(Stage):
    """Writes ``labels/<id>.png``, the prediction of a segmentor, for every image.

    Class probabilities of all scales and of the mirrored image are merged, one after the
    other: memory does not grow with their number. No label of any kind is read.

    Args:
        name: Name of the stage.
        model: Stage that trained the segmentor.
        dataset: Config of the images.
        scales: Factors of the image's sides.
        flip: Whether to add the mirrored image.
        merge: ``'mean'`` of the probabilities, or their ``'max'``, as the released
            segmentor of MCTformer (2022) has it.
        refiners: Applied to the probabilities, e.g. a dense CRF, on the GPU if there is
            one. The stages whose models they need are read too.
        refine_above: Objects whose probability is nowhere above it are left out of the
            refinement, and so of the result: a dense CRF over all 81 classes of COCO takes
            long. 0 leaves nothing out, as published.
        max_side: For large photos: the longest side of the copy that the model and the
            refiners see, in pixels; probabilities are enlarged to the photo's size.
        tile: Likewise: the longest side of a tile of it. Probabilities of overlapping
            tiles are blended; without refiners, memory depends on a row of tiles alone.
        overlap: By how many pixels tiles overlap at least.

    Raises:
        ConfigError: No scale, one that is not positive, another merge, or a size out of
            range.
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
        max_side: int | None = None,
        tile: int | None = None,
        overlap: int = 64,
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
        self.inputs = tuple(dict.fromkeys((model, *self.refiners.stages)))

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Predicts the images that have no prediction yet."""
        model = load_trained(inputs[self.model], BaseSegmentor)
        needed = self.refiners.stages
        self.refiners.bind({s: load_trained(inputs[s], nn.Module) for s in needed})
        return self.predict(model, out)

    def predict(self, model: BaseSegmentor, out: Path) -> dict[str, Any]:
        """Predicts the images that have no prediction in ``out`` yet.

        Args:
            model: The segmentor, in evaluation mode, on this worker's device.
            out: Folder to write to.

        Returns:
            The metrics.

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
            for index in todo:
                image = as_image(dataset.load_image(index))
                label = self._label(model, image)
                save_label_map(label_path(out, names[index]), label.numpy())
                bar.advance()
        return dict(images=len(names))

    def parts(self) -> tuple[RefinerChain]:
        """The refiners."""
        return (self.refiners,)

    def measured(self) -> Measured:
        """The split, the views and what came after; no labels."""
        return Measured(
            images=self.dataset,
            scales=tuple(map(float, self.scales)),
            flip=self.flip,
            labels=Tags.NONE(),
            details=dict(
                merge=self.merge,
                refiners=[type(r).__name__ for r in self.refiners.refiners],
                refine_above=self.refine_above,
                **self.large.provenance(),
            ),
        )

    def _label(self, model: BaseSegmentor, image: Tensor) -> Tensor:
        """The prediction ``(H, W)`` uint8 for an image ``(3, H, W)`` uint8 RGB."""
        copy = self.large.copy_of(image)
        size = (image.shape[1], image.shape[2])
        whole = copy.shape == image.shape and not self.refiners.refiners

        def predict(crops: Tensor) -> Tensor:
            """Probabilities ``(1, classes, h, w)`` of one crop ``(1, 3, h, w)``."""
            (crop,) = crops
            return self.probabilities(model, crop)[None]

        found = self.large.maps(predict, copy, finish=_winner if whole else None)
        if whole:
            return found
        if self.refiners.refiners:
            found = self._refined(copy, found)
        return enlarged(found, size, _winner)

    @torch.no_grad()
    def _refined(self, image: Tensor, shares: Tensor) -> Tensor:
        """What the refiners make of probabilities ``(classes, H, W)``; the same shape."""
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
        for view, mirrored in self._views(pixels):
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
            del found  # two maps at once, not three
        return merged if self.merge == 'max' else merged / count

    def _views(self, pixels: Tensor) -> Iterator[tuple[Tensor, bool]]:
        """The image at every scale, and whether it is mirrored."""
        for scale in self.scales:
            sides = [max(1, round(side * scale)) for side in pixels.shape[2:]]
            view = F.interpolate(
                pixels, size=sides, mode='bilinear', align_corners=False
            )
            yield view, False
            if self.flip:
                yield view.flip(-1), True


def _winner(probabilities: Tensor) -> Tensor:
    """The label of each pixel, ``(rows, W)`` uint8, from ``(classes, rows, W)``."""
    return probabilities.argmax(0).to(torch.uint8)


def _normalised(model: BaseSegmentor, image: Tensor) -> Tensor:
    """The image as the model's preprocessor would hand it over, ``(1, 3, H, W)``."""
    prepare = model.data_preprocessor
    pixels = image[None].to(device(), torch.float32)
    if getattr(prepare, '_channel_conversion', False):
        pixels = pixels.flip(1)
    if not hasattr(prepare, 'mean'):
        return pixels
    return (pixels - prepare.mean) / prepare.std


def _predict(model: BaseSegmentor, view: Tensor, size: tuple[int, int]) -> Tensor:
    """Probabilities ``(classes, H, W)`` of one view, at ``size``."""
    shape = tuple(view.shape[-2:])
    metas = [dict(img_shape=shape, ori_shape=shape)]
    if dict(getattr(model, 'test_cfg', None) or {}).get('mode') == 'slide':
        logits = model.slide_inference(view, metas)
    else:
        logits = model.encode_decode(view, metas)
    logits = F.interpolate(logits, size=size, mode='bilinear', align_corners=False)
    return logits.softmax(1)[0]
