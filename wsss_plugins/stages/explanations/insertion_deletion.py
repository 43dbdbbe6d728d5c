"""Tests explanations by inserting and deleting pixels in the order of their relevance."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.metrics import InsertionDeletion, insertion_deletion_probabilities
from wsss_plugins.registry import STAGES
from wsss_plugins.stages.explanations.attribution import class_logits, relevance_maps
from wsss_plugins.stages.explanations.explanation import Batch
from wsss_plugins.stages.explanations.pixels import PixelTestStage
from wsss_plugins.structures.layout import TABLE_FILE, TEXT_TABLE_FILE
from wsss_plugins.structures.tables import write_csv, write_markdown


@STAGES.register_module()
class InsertionDeletionTestStage(PixelTestStage[InsertionDeletion]):
    """Measures how the probability of the predicted class changes with its relevant pixels.

    Insertion restores pixels in a blurred image, the most relevant first; a high area
    under the curve of the probability is good. Deletion replaces pixels by the mean
    colour of the classifier's normalisation, the most relevant first; a low area is good.
    The stage needs no labels.

    Source: Petsiuk et al., RISE, 2018, section 4.2.

    Args:
        name: Name of the stage.
        model: Name of the stage that trained the classifier, or its config.
        methods: Config of a :class:`SeedHead` for each method, by its name in the tables.
        dataset: Config of the images.
        steps: Number of steps, 100 by default; each exchanges 1/steps of the pixels.
        forward_batch_size: Number of images in one forward pass.
        kwargs: ``input_size`` and ``batch_size``, see :class:`ExplanationStage`.
    """

    default_steps = 100

    def measures(self) -> dict[str, InsertionDeletion]:
        """Makes an empty accumulator for every method."""
        return {title: InsertionDeletion(self.steps) for title in self.methods}

    def measure(
        self, model: WSSSClassifier, batch: Batch, into: dict[str, InsertionDeletion]
    ) -> None:
        """Measures the curves of the probability for the maps of every method."""
        classes = class_logits(model, batch.images).argmax(1)
        for title, head in self.methods.items():
            found = insertion_deletion_probabilities(
                partial(self.logits, model),
                batch.images,
                relevance_maps(head, model, batch.images, classes[None])[0],
                classes,
                fill=(model.data_preprocessor.mean.flatten() / 255).tolist(),
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
