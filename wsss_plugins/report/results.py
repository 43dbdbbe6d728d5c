"""The contents of the report: the records of the pipeline, described in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_plugins.engine.record import StageRecord
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.report.rows import headline, measure_of
from wsss_plugins.stages.background_share import background_doubts
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.layout import IMAGES_FILE, LABELS, SCORES_FILE, SEEDS

PHRASES = {
    'head': 'maps of {}',
    'data': 'images: {}',
    'ground_truth': 'masks: {}',
    'scales': 'scales {}',
    'labels': 'labels used: {}',
    'refiners': 'refiners: {}',
    'supervision': 'trained with {}',
    'epochs': '{} epochs',
    'batch_size': 'batches of {}',
    'initial_weights': 'initial weights: {}',
}


@dataclass(frozen=True)
class Row:
    """One measured number.

    Attributes:
        stage: The stage that measured it.
        what: What was measured.
        measure: Which measure.
        score: The number, in percent.
        threshold: The background threshold it was made with.
        metrics: Everything the stage measured.
        how: How it was made: a stage and what it did, from the last stage backwards.
        card: The same in a form that can be compared; None in an old record.
    """

    stage: str
    what: str
    measure: str
    score: float | None
    threshold: float | None
    metrics: dict[str, Any]
    how: list[tuple[str, list[str]]]
    card: SupervisionCard | None


class Results:
    """The stages that a report's inputs follow from, and what they found.

    Args:
        work_dir: Folder of the experiment.
        seeds: Evaluation stages of seeds, or, without masks, the stages that made the
            seeds; so for ``labels`` and ``predictions``.
        labels: Evaluation stage of the pseudo labels.
        predictions: Evaluation stage of the predictions.

    Attributes:
        records: Record of every stage, in an order in which they can run.
        unscored: The stages that were given in place of evaluation stages.

    Raises:
        DataError: A stage has left no record.
        ConfigError: A stage that measured something else.
    """

    def __init__(
        self,
        work_dir: Path,
        seeds: Sequence[str],
        labels: str | None,
        predictions: str | None,
    ) -> None:
        self.work_dir = work_dir
        self.seeds = tuple(seeds)
        self.labels = labels
        self.predictions = predictions
        self.records: dict[str, StageRecord] = {}
        self.unscored: set[str] = set()
        for name in (*seeds, labels, predictions):
            if name is not None:
                self._follow(name)
                self._check(name)

    def _follow(self, name: str) -> None:
        """Reads the record of a stage after those of the stages it reads."""
        if name in self.records:
            return
        record = StageRecord.load(self.work_dir / name)
        if record is None:
            raise DataError(
                f"{self.work_dir / name} has no record: run the stage '{name}' first"
            )
        for source in record.inputs:
            self._follow(source)
        self.records[name] = record

    def _check(self, evaluation: str) -> None:
        metrics = self.records[evaluation].metrics
        is_seeds = evaluation in self.seeds
        if ('best_miou' if is_seeds else 'miou') in metrics:
            return
        made = self.work_dir / evaluation / (SEEDS if is_seeds else LABELS)
        if not made.is_dir():
            raise ConfigError(
                f'the report needs an Evaluate{"Seed" if is_seeds else "Label"}Stage, but '
                f"'{evaluation}' is of kind {self.records[evaluation].kind}: correct "
                'seeds, labels or predictions'
            )
        self.unscored.add(evaluation)

    def source(self, evaluation: str) -> str:
        """The stage that an evaluation stage measured; itself where nothing was."""
        if evaluation in self.unscored:
            return evaluation
        return next(iter(self.records[evaluation].inputs))

    def folder(self, evaluation: str) -> Path:
        """Folder of the stage that an evaluation stage measured."""
        return self.work_dir / self.source(evaluation)

    def scores(self, evaluation: str) -> dict[str, Any]:
        """The measures of an evaluation stage; for a sweep, those at the best threshold."""
        return load_json(self.work_dir / evaluation / SCORES_FILE)

    def class_ious(self, evaluation: str) -> dict[str, float | None]:
        """IoU of each class, in percent; None where a class is nowhere."""
        scores = self.scores(evaluation)
        ious = scores.get('best', scores)['iou']
        return dict(zip(scores['classes'], ious, strict=True))

    def image_mious(self, evaluation: str) -> dict[str, float]:
        """MIoU of each image by id, in percent; nothing where there are no masks."""
        if evaluation in self.unscored:
            return {}
        return load_json(self.work_dir / evaluation / IMAGES_FILE)

    @property
    def scored_seeds(self) -> list[str]:
        """The evaluation stages of seeds."""
        return [name for name in self.seeds if name not in self.unscored]

    @property
    def best_seeds(self) -> str | None:
        """The evaluation stage of the seeds with the highest mIoU."""
        return max(self.seeds, key=self._best_miou, default=None)

    @property
    def chosen_seeds(self) -> str | None:
        """That of the seeds the pseudo labels were made of; without any, the best."""
        if self.labels is not None:
            read = self.records[self.source(self.labels)].inputs
            for evaluation in self.seeds:
                if self.source(evaluation) in read:
                    return evaluation
        return self.best_seeds

    def _best_miou(self, evaluation: str) -> float:
        return self.records[evaluation].metrics.get('best_miou') or 0.0

    def head(self, evaluation: str) -> str:
        """Name of the seed head, with the stage's where two have the same."""
        heads = {e: self._provenance(self.source(e)).get('head') for e in self.seeds}
        name, source = heads[evaluation], self.source(evaluation)
        if name is None:
            return source
        return f'{name} ({source})' if list(heads.values()).count(name) > 1 else name

    def _provenance(self, stage: str) -> dict[str, Any]:
        return self.records[stage].provenance

    def rows(self) -> list[Row]:
        """Every measured number, in the order of the pipeline."""
        rows = []
        for name, record in self.records.items():
            key = headline(record.metrics)
            if key:
                chain = self._chain(name)
                rows.append(
                    Row(
                        stage=name,
                        what=self.what(name),
                        measure=measure_of(record.metrics, key),
                        score=record.metrics[key],
                        threshold=self._threshold(chain),
                        metrics=record.metrics,
                        how=[(stage, self._words(stage)) for stage in chain],
                        card=record.supervision,
                    )
                )
        return rows

    def what(self, stage: str) -> str:
        """What a stage measured, in words."""
        if stage in self.seeds:
            return f'{self.head(stage)} seeds'
        if stage == self.labels:
            return 'pseudo labels'
        if stage == self.predictions:
            return 'predictions'
        return stage.replace('_', ' ')

    def _chain(self, stage: str) -> list[str]:
        """The stage and those it follows from, up to what has a row of its own."""
        evaluations = {*self.seeds, self.labels, self.predictions} - {None, stage}
        told = {name for name, r in self.records.items() if headline(r.metrics)}
        told |= {self.source(name) for name in evaluations if name is not None}
        chain = [stage]
        for name in chain:
            inputs = self.records[name].inputs
            chain += [s for s in inputs if s not in told and s not in chain]
        return chain

    def _threshold(self, chain: Sequence[str]) -> float | None:
        for stage in chain:
            for key in ('best_threshold', 'threshold'):
                if key in self.records[stage].metrics:
                    return self.records[stage].metrics[key]
        return None

    def _words(self, stage: str) -> list[str]:
        """What a stage did, in plain words."""
        record = self.records[stage]
        words = describe(record.provenance)
        if 'best_threshold' in record.metrics:
            words.append(
                f'threshold {record.metrics["best_threshold"]:g}, the best on these '
                'ground-truth masks: an upper bound'
            )
        threshold = record.metrics.get('threshold')
        if threshold is not None:
            words.append(f'at {threshold:g}')
        if 'background_share' in record.metrics:
            share = record.metrics['background_share']
            words.append(f'background on {share:.1%} of the pixels')
            count = record.metrics['images'] - record.metrics.get('failed', 0)
            words += background_doubts(record.metrics, count)
        return words


def describe(provenance: dict[str, Any]) -> list[str]:
    """A stage's provenance in plain words, an unknown key as ``key: value``."""
    words = []
    for key, value in provenance.items():
        if key == 'flip':
            words.append('with mirrored images' if value else 'not mirrored')
        elif key == 'threshold':
            words.append(f'threshold {value}')
        elif key in PHRASES:
            words.append(PHRASES[key].format(_plain(value)))
        else:
            words.append(f'{key.replace("_", " ")}: {_plain(value)}')
    return words


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ', '.join(f'{key} {_plain(item)}' for key, item in value.items())
    if isinstance(value, list | tuple):
        return ', '.join(map(_plain, value)) or 'none'
    if isinstance(value, float):
        return f'{value:g}'
    return 'none' if value is None else str(value)
