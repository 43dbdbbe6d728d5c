"""Measures the attention by which maps are refined against ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.backbones import capture
from wsss_plugins.blocks import block_index
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.engine.flow import in_threads
from wsss_plugins.engine.workers import gather, rank
from wsss_plugins.errors import ConfigError
from wsss_plugins.metrics import AffinityContrast, patch_labels
from wsss_plugins.registry import STAGES
from wsss_plugins.stages.evaluate import MaskStage
from wsss_plugins.stages.images import as_input
from wsss_plugins.stages.train import load_trained
from wsss_plugins.structures import save_json
from wsss_plugins.structures.layout import SCORES_FILE
from wsss_plugins.structures.measured import Measured


@STAGES.register_module()
class EvaluateAffinityStage(MaskStage):
    """Measures whether patches attend to patches of the same class.

    The measures tell, without any refinement, how well attention can refine maps, see
    :class:`~wsss_plugins.metrics.AffinityContrast`. Images are taken at one scale and not
    mirrored.

    Args:
        name: Name of the stage.
        model: Name of the stage that trained the classifier.
        dataset: Config of the images with ``label_maps``.
        blocks: Indices of the blocks whose attention is summed, negative ones counting
            from the end; by default all blocks, as in ACR and MCTformer.

    Raises:
        ConfigError: ``blocks`` is an empty list.
    """

    needs_every_image = True

    def __init__(
        self,
        name: str,
        model: str,
        dataset: dict[str, Any],
        blocks: Sequence[int] | None = None,
    ) -> None:
        super().__init__(name, model, dataset)
        if blocks is not None and not blocks:
            raise ConfigError(
                'blocks must name at least one, such as [-2, -1], or None for all',
                token='blocks',
            )
        self.blocks = blocks

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Measures every image.

        Raises:
            UserError: The model has no attention, or no block of an index in ``blocks``.
            DataError: The attention has negative values, or an image has no mask.
        """
        model = load_trained(inputs[self.source], WSSSClassifier)
        dataset = self._images(inputs[self.source])
        depth = len(model.backbone.attention_modules())
        blocks = range(depth) if self.blocks is None else self.blocks
        captured = [block_index(block, depth, 'blocks') for block in blocks] or True
        contrast = AffinityContrast()

        def load(index: int) -> tuple[np.ndarray, np.ndarray]:
            """The photo ``(H, W, 3)`` and the mask ``(H, W)`` of an image."""
            return dataset.load_image(index), dataset.load_mask(index)

        indices = (index for index, _ in self._share(dataset))
        for photo, mask in in_threads(load, indices):
            images = as_input(model, [photo])
            with capture(
                model.backbone, images, gradients=False, attention=captured, heads=()
            ) as trace:
                affinity = trace.patch_affinity()[0].cpu().numpy()
            labels = patch_labels(mask, trace.grid)
            contrast.update(affinity, labels)
        total = AffinityContrast()
        for part in gather(contrast):
            total.merge(part)
        scores = total.compute().to_dict()
        if rank() == 0:
            save_json(out / SCORES_FILE, scores)
        measured = {key: round(value, 3) for key, value in scores.items()}
        return dict(measured, images=len(total))

    def measured(self) -> Measured:
        """Declares the measured images, one view of each, and the blocks."""
        blocks = 'all' if self.blocks is None else list(self.blocks)
        return replace(
            super().measured(), scales=(1.0,), flip=False, details=dict(blocks=blocks)
        )
