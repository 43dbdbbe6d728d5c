"""Tests explanations by removing pixels in the order of their relevance."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.metrics import Perturbation, perturbed_logits
from wsss_plugins.registry import STAGES
from wsss_plugins.stages.explanations.attribution import (
    class_logits,
    refuse_other_classes,
    relevance_maps,
    target_classes,
)
from wsss_plugins.stages.explanations.explanation import Batch
from wsss_plugins.stages.explanations.pixels import PixelTestStage
from wsss_plugins.structures.layout import TABLE_FILE, TEXT_TABLE_FILE
from wsss_plugins.structures.tables import Cell, write_csv, write_markdown

EXPLAINED = ('predicted', 'target')
SIGNS = ('negative', 'positive')


@STAGES.register_module()
class PerturbationTestStage(PixelTestStage[Perturbation]):
    """Measures how the accuracy falls when pixels are removed by their relevance.

    Positive perturbation removes the most relevant pixels first; a low area under the
    curve of the accuracy is good. Negative perturbation removes the least relevant pixels
    first; a high area is good. Both are measured with maps of the predicted class and of
    the target class, which is the label with the highest logit. A prediction is correct
    if it is the target class.

    Source: Chefer et al., Transformer Interpretability Beyond Attention Visualization,
    2021, table 2 and the released evaluation.

    Args:
        name: Name of the stage.
        model: Name of the stage that trained the classifier, or its config.
        methods: Config of a :class:`SeedHead` for each method, by its name in the tables.
        dataset: Config of the images.
        steps: Number of levels, 10 by default; the shares of removed pixels are 0, 1/steps,
            2/steps ...
        forward_batch_size: Number of perturbed images in one forward pass.
        kwargs: ``input_size`` and ``batch_size``, see :class:`ExplanationStage`.
    """

    default_steps = 10

    def check(self, model: WSSSClassifier, dataset: WSSSDataset) -> None:
        """Refuses a data set whose number of classes is not the classifier's."""
        refuse_other_classes(model, dataset)

    def measures(self) -> dict[str, Perturbation]:
        """Makes an empty accumulator for every method and each of the two classes."""
        keys = [f'{title}/{which}' for title in self.methods for which in EXPLAINED]
        return {key: Perturbation(self.steps) for key in keys}

    def measure(
        self, model: WSSSClassifier, batch: Batch, into: dict[str, Perturbation]
    ) -> None:
        """Perturbs the images of a batch according to the maps of every method."""
        logits = class_logits(model, batch.images)
        target = target_classes(logits, batch.labels)
        classes = torch.stack([logits.argmax(1), target])
        for title, head in self.methods.items():
            maps = relevance_maps(head, model, batch.images, classes)
            for which, found in zip(
                EXPLAINED, self._perturb(model, batch, maps), strict=True
            ):
                into[f'{title}/{which}'].update(found, target)

    def report(
        self, out: Path, total: dict[str, Perturbation]
    ) -> tuple[Any, dict[str, float]]:
        """Writes the areas of each method to ``table.md``, and the curves to ``table.csv``."""
        scores: dict[str, dict[str, Any]] = {title: {} for title in self.methods}
        for key, measure in total.items():
            title, which = key.rsplit('/', 1)
            scores[title][which] = measure.compute().to_dict()
        kinds = [(sign, which) for sign in SIGNS for which in EXPLAINED]
        rows: list[list[Cell]] = [
            [title, *(s[which][sign]['auc'] for sign, which in kinds)]
            for title, s in scores.items()
        ]
        header = ['method', *(f'{sign}, {which}' for sign, which in kinds)]
        write_markdown(out / TEXT_TABLE_FILE, header, rows)
        curves = [
            [title, sign, which, s[which][sign]['auc'], *s[which][sign]['accuracy']]
            for title, s in scores.items()
            for sign, which in kinds
        ]
        levels = [f'accuracy_{step / self.steps:g}' for step in range(self.steps)]
        header = ['method', 'perturbation', 'explained', 'auc', *levels]
        write_csv(out / TABLE_FILE, header, curves)
        return scores, {
            f'{title}_{sign}': round(s['predicted'][sign]['auc'], 3)
            for title, s in scores.items()
            for sign in SIGNS
        }

    def _perturb(
        self, model: WSSSClassifier, batch: Batch, maps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits of the perturbed images for the maps ``(2, N, H, W)`` of both classes.

        Images whose two maps are equal are computed once.
        """

        def logits_of(chosen: Tensor, images: Tensor) -> Tensor:
            """Logits of images at every level of perturbation by the maps ``chosen``."""
            forward = partial(self.logits, model)
            return perturbed_logits(forward, images, chosen, **self.ways(model))

        predicted = logits_of(maps[0], batch.images)
        target = predicted.clone()
        differ = (maps[0] != maps[1]).flatten(1).any(1)
        if differ.any():
            target[differ] = logits_of(maps[1][differ], batch.images[differ])
        return predicted, target
