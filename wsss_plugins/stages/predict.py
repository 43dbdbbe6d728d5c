"""Predictions of a trained segmentor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor, nn

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.progress import ProgressBar
from wsss_plugins.refiners import RefinerChain
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.base import Stage
from wsss_plugins.stages.distributed import device, rank, share_of
from wsss_plugins.stages.refine import label_path
from wsss_plugins.stages.seed import as_image
from wsss_plugins.stages.train import load_trained
from wsss_plugins.structures import Seed, save_label_map


@STAGES.register_module()
class PredictStage(Stage):
    """Writes ``labels/<id>.png``, the prediction of a segmentor, for every image.

    Class probabilities of all scales and of the mirrored image are averaged. No label of
    any kind is read.

    Args:
        name: Name of the stage.
        model: Stage that trained the segmentor.
        dataset: Config of the images.
        scales: Factors of the image's sides.
        flip: Whether to add the mirrored image.
        refiners: Applied to the probabilities, e.g. a dense CRF. The stages whose models
            they need are read too.
    """

    def __init__(
        self,
        name: str,
        model: str,
        dataset: dict[str, Any],
        scales: Sequence[float] = (1.0,),
        flip: bool = True,
        refiners: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(name)
        self.model = model
        self.dataset = dict(dataset, test_mode=True)
        self.scales = tuple(scales)
        self.flip = flip
        self.refiners = RefinerChain(refiners)
        self.inputs = tuple(dict.fromkeys((model, *self.refiners.stages)))

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Predicts the images that have no prediction yet."""
        model = load_trained(inputs[self.model], BaseSegmentor)
        needed = self.refiners.stages
        self.refiners.bind({s: load_trained(inputs[s], nn.Module) for s in needed})
        dataset = build_as(DATASETS, self.dataset, WSSSDataset)
        names = dataset.ids
        mine = share_of(range(len(names)))
        todo = [i for i in mine if not label_path(out, names[i]).is_file()]
        with ProgressBar(self.name, len(mine), quiet=rank() != 0) as bar:
            bar.begin_at(len(mine) - len(todo))
            for index in todo:
                image = as_image(dataset.load_image(index))
                probabilities = self._probabilities(model, image).cpu()
                if self.refiners.refiners:
                    classes = torch.arange(len(probabilities) - 1)
                    seed = Seed(probabilities[1:], classes, probabilities[0])
                    label = self.refiners(image, seed).to_label()
                else:
                    label = probabilities.argmax(0)
                save_label_map(label_path(out, names[index]), label.numpy())
                bar.advance()
        return dict(images=len(names))

    def provenance(self) -> dict[str, Any]:
        """Split, scales, flip and what came after."""
        return dict(
            data=f'{self.dataset["data_root"]} {self.dataset["split"]}',
            scales=list(self.scales),
            flip=self.flip,
            refiners=[type(r).__name__ for r in self.refiners.refiners],
            labels='none',
        )

    @torch.no_grad()
    def _probabilities(self, model: BaseSegmentor, image: Tensor) -> Tensor:
        """Mean probabilities ``(classes, H, W)`` of an image ``(3, H, W)`` uint8 RGB."""
        prepare = model.data_preprocessor
        size = (image.shape[1], image.shape[2])
        pixels = (image[None].to(device(), torch.float32) - prepare.mean) / prepare.std
        total = []
        for scale in self.scales:
            sides = [max(1, round(side * scale)) for side in size]
            view = F.interpolate(
                pixels, size=sides, mode='bilinear', align_corners=False
            )
            total.append(_predict(model, view, size))
            if self.flip:
                total.append(_predict(model, view.flip(-1), size).flip(-1))
        return torch.stack(total).mean(0)


def _predict(model: BaseSegmentor, view: Tensor, size: tuple[int, int]) -> Tensor:
    """Probabilities ``(classes, H, W)`` of one view, at ``size``."""
    logits = model.encode_decode(view, [dict(img_shape=tuple(view.shape[-2:]))])
    logits = F.interpolate(logits, size=size, mode='bilinear', align_corners=False)
    return logits.softmax(1)[0]
