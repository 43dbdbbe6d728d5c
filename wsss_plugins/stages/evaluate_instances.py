"""Measures seeds as detections against the instance masks of COCO."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.datasets import COCO14
from wsss_plugins.datasets.coco14 import COCO_CATEGORIES
from wsss_plugins.engine.failures import without_failed
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import barrier, gather, rank, share_of
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import CocoAP, check_detections, detections_of_map
from wsss_plugins.metrics.coco_ap import MEASURES
from wsss_plugins.progress import ProgressBar
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.true_instances import (
    files_of_instances,
    instance_dataset,
    true_instances,
)
from wsss_plugins.structures import Seed, load_json, save_json
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.layout import (
    PARTS,
    SCORES_FILE,
    TABLE_FILE,
    TEXT_TABLE_FILE,
    seed_path,
)
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.tables import write_csv, write_markdown

CATEGORIES = tuple(COCO_CATEGORIES)
COLUMNS = dict(
    AP='ap',
    AP_medium='ap_medium',
    AP_large='ap_large',
    AR='ar',
    AR_medium='ar_medium',
    AR_large='ar_large',
)
"""Columns of table 4 of eX-ViT, and the measure of each."""


@STAGES.register_module()
class EvaluateInstanceStage(Stage):
    """Measures average precision and recall of seeds on the instance masks of COCO.

    :func:`detections_of_map` turns a map into detections. The score of a detection is the
    mean of the map inside it, times :attr:`Seed.confidence` if the seed has one. The stage
    writes ``table.md`` with a row for each seed stage, ``table.csv`` with all of COCO's
    measures, and ``scores.json``, in which a measure without ground truth is None. Each
    measured seed stage has a file in ``parts/``, so that a run that was killed continues
    with the next one.

    Images on which one of the seed stages failed are left out; the metric ``left_out`` is
    their number.

    Source: the measures of Yu et al., eX-ViT, 2022, table 4, which are those of Chefer et
    al., Generic Attention-model Explainability, 2021. eX-ViT does not state how the map of
    a classifier becomes detections; :func:`detections_of_map` is this project's choice.

    Args:
        name: Name of the stage.
        seeds: Name of the stage that made the seeds, or a dict of several such names by
            their title in the table.
        dataset: Config of a :class:`COCO14`, whose instances file is the ground truth.
        threshold: Threshold of the map, see :func:`detections_of_map`.
        instances: How a map is divided into instances, see :func:`detections_of_map`.

    Raises:
        ConfigError: ``dataset`` is no :class:`COCO14`, ``seeds`` is empty, or
            :func:`detections_of_map` does not take ``threshold`` or ``instances``.
    """

    needs_every_image = False
    reads_photos = False
    reads_masks = False

    def __init__(
        self,
        name: str,
        seeds: str | Mapping[str, str],
        dataset: dict[str, Any],
        threshold: float | str = 'otsu',
        instances: str = 'components',
    ) -> None:
        super().__init__(name)
        check_detections(threshold, instances)
        instance_dataset(dataset, name, (COCO14,))
        self.sources = {seeds: seeds} if isinstance(seeds, str) else dict(seeds)
        if not self.sources:
            raise ConfigError(f"stage '{name}' needs seeds: name a stage", token=name)
        self.prefixes = {t: '' if t == seeds else f'{t}_' for t in self.sources}
        self.inputs = tuple(dict.fromkeys(self.sources.values()))
        self.dataset = dict(dataset, test_mode=True)
        self.threshold, self.instances = threshold, instances

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Turns every seed into detections, and measures these."""
        cfg = without_failed(self.dataset, *inputs.values())
        dataset = build_as(DATASETS, dict(cfg, require_images=False), COCO14)
        parts = {
            title: out / PARTS / f'{i:03}.json' for i, title in enumerate(self.sources)
        }
        todo = [title for title, part in parts.items() if not part.is_file()]
        barrier()  # all workers have looked for files before the first one writes
        if todo:
            metric, number, _ = true_instances(dataset)
            for title in todo:
                folder = inputs[self.sources[title]]
                found = self._measure(title, folder, dataset, metric, number)
                if rank() == 0:
                    save_json(parts[title], found)
        barrier()
        scores = {title: load_json(part) for title, part in parts.items()}
        if rank() == 0:
            _report(out, scores)
        return dict(
            images=len(dataset), **self._metrics(scores, len(dataset.leave_out))
        )

    def files_read(self) -> dict[str, list[Path]]:
        """The file of instances, which has boxes and outlines besides the labels."""
        return {str(path): [path] for path in files_of_instances(self.dataset)}

    def measured(self) -> Measured:
        """Declares the images, the instances file, and how a map becomes detections."""
        given = self.threshold
        number = isinstance(given, int | float)
        return Measured(
            images=self.dataset,
            mask_files=files_of_instances(self.dataset),
            thresholds=(
                Threshold(self.name, Source.FIXED, values=(float(given),))
                if number
                else Threshold(self.name, Source.LABEL_FREE, str(given)),
            ),
            details=dict(
                ground_truth='instances of COCO',
                seeds=self.sources,
                threshold=given,
                instances=self.instances,
            ),
        )

    def _metrics(self, scores: Mapping[str, Any], left_out: int) -> dict[str, Any]:
        """The metrics: those of the table; of several seed stages only AP and AR."""
        keys = list(COLUMNS.values()) if len(scores) == 1 else ['ap', 'ar']
        numbers = {
            f'{self.prefixes[title]}{key}': _rounded(each[key])
            for title, each in scores.items()
            for key in keys
        }
        return numbers | (dict(left_out=left_out) if left_out else {})

    def _measure(
        self,
        title: str,
        seeds: Path,
        dataset: COCO14,
        metric: CocoAP,
        number: Mapping[str, int],
    ) -> dict[str, float | None]:
        """COCO's measures of the seeds of one stage; empty on all workers but the first."""
        metric.detections = []
        names = share_of(dataset.ids)
        quiet = rank() != 0
        with ProgressBar(f'{self.name}: {title}', len(names), quiet=quiet) as bar:
            for name in names:
                self._find(seed_path(seeds, name), metric, number[name])
                bar.advance()
        found = gather(metric.detections)
        metric.detections = [each for part in found for each in part]
        return metric.compute() if rank() == 0 else {}

    def _find(self, path: Path, metric: CocoAP, image: int) -> None:
        """Adds the detections of one seed to ``metric``."""
        seed = Seed.load(path)
        if seed.size != metric.sizes[image]:
            raise DataError(
                f'{path} is of size {seed.size} but image {image} of '
                f'{metric.sizes[image]} in the instances file: make it again from the '
                'same images'
            )
        sure = np.ones(len(seed.classes))
        if seed.confidence is not None:
            sure = seed.confidence.double().numpy()
        maps = zip(seed.classes.tolist(), seed.scores.numpy(), sure, strict=True)
        for c, scores, confidence in maps:
            if not 0 <= c < len(CATEGORIES):
                raise DataError(
                    f'{path} has the class {c}: COCO has 0 to {len(CATEGORIES) - 1}'
                )
            masks, means = detections_of_map(scores, self.threshold, self.instances)
            metric.update(image, CATEGORIES[c], masks, confidence * means)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _report(out: Path, scores: Mapping[str, Mapping[str, float | None]]) -> None:
    """Writes the tables and ``scores.json``."""
    save_json(out / SCORES_FILE, scores)
    rows = [[t, *(each[key] for key in COLUMNS.values())] for t, each in scores.items()]
    write_markdown(out / TEXT_TABLE_FILE, ['seeds', *COLUMNS], rows)
    rows = [[t, *(each[key] for key in MEASURES)] for t, each in scores.items()]
    write_csv(out / TABLE_FILE, ['seeds', *MEASURES], rows)
