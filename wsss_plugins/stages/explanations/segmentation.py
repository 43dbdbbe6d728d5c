"""Tests explanations as segmentations of the object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.errors import ConfigError
from wsss_plugins.metrics import ExplanationSegmentation
from wsss_plugins.registry import STAGES
from wsss_plugins.stages.explanations.attribution import (
    class_logits,
    refuse_other_classes,
    relevance_maps,
    target_classes,
)
from wsss_plugins.stages.explanations.explanation import Batch, ExplanationStage
from wsss_plugins.structures import IGNORE
from wsss_plugins.structures.card import Tags
from wsss_plugins.structures.layout import TABLE_FILE, TEXT_TABLE_FILE
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.tables import write_csv, write_markdown

COLUMNS = {
    'pixel_accuracy': 'pixel accuracy',
    'mean_ap': 'mAP',
    'miou': 'mIoU',
    'mean_f1': 'mF1',
    'mean_row_f1': 'mF1 by rows',
    'pooled_ap': 'AP of all pixels',
}


@STAGES.register_module()
class SegmentationTestStage(ExplanationStage[ExplanationSegmentation]):
    """Measures how well the maps of several methods segment the object.

    Source: Chefer et al., Transformer Interpretability Beyond Attention Visualization,
    2021, table 3 and the released evaluation.

    Args:
        name: Name of the stage.
        model: Name of the stage that trained the classifier, or its config.
        methods: Config of a :class:`SeedHead` for each method, by its name in the tables.
        dataset: Config of the images with ``label_maps``.
        explained: Class whose map is tested: ``'predicted'``, the class with the highest
            logit, as in the paper's table; or ``'target'``, the label with the highest
            logit.
        foreground: Pixels that count as foreground: ``'any'``, those of all objects, for
            images with one object; or ``'class'``, those of the explained class.
        kwargs: ``input_size`` and ``batch_size``, see :class:`ExplanationStage`.

    Raises:
        ConfigError: ``explained`` is neither 'predicted' nor 'target', or ``foreground``
            is neither 'any' nor 'class'.
    """

    needs_masks = True
    reads_masks = True

    def __init__(
        self,
        name: str,
        model: str | dict[str, Any],
        methods: dict[str, dict[str, Any]],
        dataset: dict[str, Any],
        explained: str = 'predicted',
        foreground: str = 'any',
        **kwargs: Any,
    ) -> None:
        super().__init__(name, model, methods, dataset, **kwargs)
        choices = dict(
            explained=(explained, ('predicted', 'target')),
            foreground=(foreground, ('any', 'class')),
        )
        for key, (given, allowed) in choices.items():
            if given not in allowed:
                raise ConfigError(
                    f'{key} must be one of {allowed}, not {given!r}', token=key
                )
        self.explained = explained
        self.foreground = foreground

    def check(self, model: WSSSClassifier, dataset: WSSSDataset) -> None:
        """Refuses a data set of other classes, if the classes of its labels are used."""
        if self.explained == 'target' or self.foreground == 'class':
            refuse_other_classes(model, dataset)

    def measured(self) -> Measured:
        """Declares the explained class, and which pixels count as foreground."""
        own = super().measured()
        counted = dict(explained=self.explained, foreground=self.foreground)
        labels = Tags.TRUE() if self.explained == 'target' else Tags.NONE()
        return replace(own, labels=labels, protocol={**own.protocol, **counted})

    def measures(self) -> dict[str, ExplanationSegmentation]:
        """Makes an empty accumulator for every method."""
        return {title: ExplanationSegmentation() for title in self.methods}

    def measure(
        self,
        model: WSSSClassifier,
        batch: Batch,
        into: dict[str, ExplanationSegmentation],
    ) -> None:
        """Measures the maps of a batch against its masks."""
        logits = class_logits(model, batch.images)
        classes = logits.argmax(1)
        if self.explained == 'target':
            classes = target_classes(logits, batch.labels)
        labels = self._foreground(batch, classes.cpu().numpy())
        for title, head in self.methods.items():
            maps = relevance_maps(head, model, batch.images, classes[None])[0]
            for relevance, label in zip(maps.cpu().numpy(), labels, strict=True):
                into[title].update(relevance, label)

    def report(
        self, out: Path, total: dict[str, ExplanationSegmentation]
    ) -> tuple[Any, dict[str, float]]:
        """Writes a row for each method."""
        scores = {title: m.compute().to_dict() for title, m in total.items()}
        rows = [[title, *(s[key] for key in COLUMNS)] for title, s in scores.items()]
        write_csv(out / TABLE_FILE, ['method', *COLUMNS], rows)
        write_markdown(out / TEXT_TABLE_FILE, ['method', *COLUMNS.values()], rows)
        return scores, {f'{t}_miou': round(s['miou'], 3) for t, s in scores.items()}

    def _foreground(self, batch: Batch, classes: np.ndarray) -> np.ndarray:
        """Labels ``(N, H, W)``: 1 foreground, 0 background, -1 ignored."""
        masks = np.asarray(batch.masks)
        wanted = classes[:, None, None] + 1
        found = masks == wanted if self.foreground == 'class' else masks > 0
        return np.where(masks == IGNORE, -1, np.where(found, 1, 0))
