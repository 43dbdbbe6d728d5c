"""Tests explanations by inserting and deleting pixels in the order of their relevance."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.errors import ConfigError
from wsss_plugins.metrics import InsertionDeletion, insertion_deletion_probabilities
from wsss_plugins.metrics.insertion_deletion import PROBABILITIES, check_probability
from wsss_plugins.registry import STAGES
from wsss_plugins.stages.explanations.attribution import (
    class_logits,
    mean_colour,
    refuse_other_classes,
    relevance_maps,
    target_classes,
)
from wsss_plugins.stages.explanations.explanation import Batch
from wsss_plugins.stages.explanations.pixels import PixelTestStage
from wsss_plugins.structures.card import Tags
from wsss_plugins.structures.layout import TABLE_FILE, TEXT_TABLE_FILE
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.tables import write_csv, write_markdown


@STAGES.register_module()
class InsertionDeletionTestStage(PixelTestStage[InsertionDeletion]):
    """Measures how the probability of a class changes with its relevant pixels.

    Insertion restores pixels in a blurred image, the most relevant first; a high area
    under the curve of the probability is good. Deletion replaces pixels by the mean
    colour of the classifier's normalisation, the most relevant first; a low area is good.
    By default the class is the predicted one, and no labels are needed.

    Source: Petsiuk et al., RISE, 2018, section 4.2.

    Args:
        name: Name of the stage.
        model: Name of the stage that trained the classifier, or its config.
        methods: Config of a :class:`SeedHead` for each method, by its name in the tables.
        dataset: Config of the images.
        steps: Number of steps, 100 by default; each exchanges 1/steps of the pixels.
        forward_batch_size: Number of images in one forward pass.
        explained: ``'predicted'``, the class with the highest logit, as in the paper; or
            ``'target'``, the label with the highest logit.
        probability: ``'softmax'`` over all classes, as in the paper; or ``'sigmoid'`` of
            the class's logit, for classifiers of photos with several classes.
        kwargs: ``input_size`` and ``batch_size``, see :class:`ExplanationStage`.

    Raises:
        ConfigError: ``explained`` or ``probability`` is none of its values.
    """

    default_steps = 100

    def __init__(
        self,
        name: str,
        model: str | dict[str, Any],
        methods: dict[str, dict[str, Any]],
        dataset: dict[str, Any],
        steps: int | None = None,
        forward_batch_size: int = 64,
        explained: str = 'predicted',
        probability: str = 'softmax',
        **kwargs: Any,
    ) -> None:
        super().__init__(
            name, model, methods, dataset, steps, forward_batch_size, **kwargs
        )
        if explained not in ('predicted', 'target'):
            raise ConfigError(
                f"explained must be 'predicted' or 'target', not {explained!r}",
                token='explained',
            )
        check_probability(probability)
        self.explained, self.probability = explained, probability

    def check(self, model: WSSSClassifier, dataset: WSSSDataset) -> None:
        """Refuses a data set of other classes, if the classes of its labels are used."""
        if self.explained == 'target':
            refuse_other_classes(model, dataset)

    def measured(self) -> Measured:
        """Declares the explained class and the probability where they are not the paper's."""
        own = super().measured()
        protocol = dict(own.protocol)
        if self.explained == 'target':
            protocol['explained'] = self.explained
        if self.probability != PROBABILITIES[0]:
            protocol['probability'] = self.probability
        labels = Tags.TRUE() if self.explained == 'target' else own.labels
        return replace(own, labels=labels, protocol=protocol)

    def measures(self) -> dict[str, InsertionDeletion]:
        """Makes an empty accumulator for every method."""
        return {title: InsertionDeletion(self.steps) for title in self.methods}

    def measure(
        self, model: WSSSClassifier, batch: Batch, into: dict[str, InsertionDeletion]
    ) -> None:
        """Measures the curves of the probability for the maps of every method."""
        logits = class_logits(model, batch.images)
        classes = logits.argmax(1)
        if self.explained == 'target':
            classes = target_classes(logits, batch.labels)
        for title, head in self.methods.items():
            found = insertion_deletion_probabilities(
                partial(self.logits, model),
                batch.images,
                relevance_maps(head, model, batch.images, classes[None])[0],
                classes,
                fill=mean_colour(model),
                probability=self.probability,
                **self.ways(model),
            )
            into[title].update(found)

    def report(
        self, out: Path, total: dict[str, InsertionDeletion]
    ) -> tuple[Any, dict[str, float]]:
        """Writes a row for each method; the curves go to ``scores.json``."""
        scores = {title: m.compute().to_dict() for title, m in total.items()}
        areas = ['insertion_auc', 'deletion_auc']
        rows = [[t, *(100 * s[area] for area in areas)] for t, s in scores.items()]
        write_csv(out / TABLE_FILE, ['method', *areas], rows)
        write_markdown(out / TEXT_TABLE_FILE, ['method', 'insertion', 'deletion'], rows)
        return scores, {
            f'{title}_{area.removesuffix("_auc")}': round(100 * s[area], 3)
            for title, s in scores.items()
            for area in areas
        }
