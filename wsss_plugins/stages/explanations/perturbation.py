"""Tests explanations by removing pixels in the order of their relevance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.errors import ConfigError
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
from wsss_plugins.structures.card import Tags
from wsss_plugins.structures.layout import TABLE_FILE, TEXT_TABLE_FILE
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.tables import Cell, write_csv, write_markdown

EXPLAINED = ('predicted', 'target')
SIGNS = ('negative', 'positive')


@STAGES.register_module()
class PerturbationTestStage(PixelTestStage[Perturbation]):
    """Measures how the accuracy falls when pixels are removed by their relevance.

    Positive perturbation removes the most relevant pixels first; a low area under the
    curve of the accuracy is good. Negative perturbation removes the least relevant pixels
    first; a high area is good. Both are measured with maps of the predicted class and of
    the target class, which is the label with the highest logit, unless ``explained``
    names only one of them. A prediction is correct if it is the target class.

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
        explained: The classes whose maps are tested: ``'predicted'``, ``'target'`` or
            both. The metrics of the stage are those of the first.
        kwargs: ``input_size`` and ``batch_size``, see :class:`ExplanationStage`.

    Raises:
        ConfigError: ``explained`` is empty, or names another class or one twice.
    """

    default_steps = 10

    def __init__(
        self,
        name: str,
        model: str | dict[str, Any],
        methods: dict[str, dict[str, Any]],
        dataset: dict[str, Any],
        steps: int | None = None,
        forward_batch_size: int = 64,
        explained: Sequence[str] = EXPLAINED,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            name, model, methods, dataset, steps, forward_batch_size, **kwargs
        )
        if tuple(explained) not in (EXPLAINED, EXPLAINED[::-1], *zip(EXPLAINED)):
            raise ConfigError(
                f'explained must be a list of one or both of {EXPLAINED}, not '
                f'{explained!r}',
                token='explained',
            )
        self.explained = tuple(explained)

    def measured(self) -> Measured:
        """Declares the explained class if it is the target alone, which the labels give."""
        own = super().measured()
        if self.explained != ('target',):
            return own
        protocol = {**own.protocol, 'explained': 'target'}
        return replace(own, labels=Tags.TRUE(), protocol=protocol)

    def check(self, model: WSSSClassifier, dataset: WSSSDataset) -> None:
        """Refuses a data set whose number of classes is not the classifier's."""
        refuse_other_classes(model, dataset)

    def measures(self) -> dict[str, Perturbation]:
        """Makes an empty accumulator for every method and each explained class."""
        keys = [f'{title}/{w}' for title in self.methods for w in self.explained]
        return {key: Perturbation(self.steps) for key in keys}

    def measure(
        self, model: WSSSClassifier, batch: Batch, into: dict[str, Perturbation]
    ) -> None:
        """Perturbs the images of a batch according to the maps of every method."""
        logits = class_logits(model, batch.images)
        target = target_classes(logits, batch.labels)
        known = dict(predicted=logits.argmax(1), target=target)
        classes = torch.stack([known[which] for which in self.explained])
        for title, head in self.methods.items():
            maps = relevance_maps(head, model, batch.images, classes)
            for which, found in zip(
                self.explained, self._perturb(model, batch, maps), strict=True
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
        kinds = [(sign, which) for sign in SIGNS for which in self.explained]
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
            f'{title}_{sign}': round(s[self.explained[0]][sign]['auc'], 3)
            for title, s in scores.items()
            for sign in SIGNS
        }

    def _perturb(
        self, model: WSSSClassifier, batch: Batch, maps: Tensor
    ) -> list[Tensor]:
        """Logits of the perturbed images for the maps ``(K, N, H, W)`` of K <= 2 classes.

        Images whose two maps are equal are computed once.
        """

        def logits_of(chosen: Tensor, images: Tensor) -> Tensor:
            """Logits of images at every level of perturbation by the maps ``chosen``."""
            forward = partial(self.logits, model)
            return perturbed_logits(forward, images, chosen, **self.ways(model))

        first = logits_of(maps[0], batch.images)
        if len(maps) == 1:
            return [first]
        second = first.clone()
        differ = (maps[0] != maps[1]).flatten(1).any(1)
        if differ.any():
            second[differ] = logits_of(maps[1][differ], batch.images[differ])
        return [first, second]
