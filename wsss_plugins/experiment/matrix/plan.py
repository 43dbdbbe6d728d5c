"""Turns a grid of classifiers, seed heads and refiners into the stages of a pipeline."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from mmengine.config import Config

from wsss_plugins.config import plain
from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment.matrix.wanted import BEST, Matrix
from wsss_plugins.stages.evaluate import EvaluateLabelStage, EvaluateSeedStage
from wsss_plugins.stages.features import FeatureStage
from wsss_plugins.stages.refine import RefineStage
from wsss_plugins.stages.seed import SeedStage
from wsss_plugins.stages.train import TrainStage


@dataclass(frozen=True)
class Choice:
    """A row of the table: a classifier and a seed head."""

    classifier: str
    head: str


@dataclass(frozen=True)
class Cell:
    """The stages that give one number of the table.

    Attributes:
        stages: Names of all stages that the number depends on, in order.
        score: Name of the last of them, which measures.
        metric: Name of its metric that is the number.
    """

    stages: tuple[str, ...]
    score: str
    metric: str


class Plan:
    """The stages of a grid; cells that need equal stages share one.

    Attributes:
        matrix: The grid.
        cells: The cells by row and column; a column is :data:`BEST` or the name of a
            list of refiners.
        maps: Name of the stage that makes the maps of each row.
    """

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self._configs: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._reads: dict[str, tuple[str, ...]] = {}
        self.cells: dict[tuple[Choice, str], Cell] = {}
        self.maps: dict[Choice, str] = {}
        self._kept: tuple[str, ...] = ()
        if matrix.features is not None:
            given = dict(matrix.features)
            self._kept = (self._add('features', (), type=FeatureStage, **given),)
        for classifier, head in product(matrix.classifiers, matrix.heads):
            self._plan_row(Choice(classifier, head))

    @property
    def choices(self) -> list[Choice]:
        """The rows, in order."""
        return list(self.maps)

    @property
    def columns(self) -> list[str]:
        """The columns, in order."""
        return [BEST, *self.matrix.refiners]

    def configs(self, without: Collection[str] = ()) -> list[dict[str, Any]]:
        """Configs of the stages, each after the stages that it reads.

        Args:
            without: Names of stages to leave out. Stages that read them are left out too,
                and classifiers that no remaining stage reads.
        """
        left, gone = [], set(without)
        for name in self._configs:
            if gone.intersection(self._reads[name]):
                gone.add(name)
            elif name not in gone:
                left.append(name)
        read = {source for name in left for source in self._reads[name]}
        return [
            dict(self._configs[name])
            for name in left
            if name in read or self._stays(name)
        ]

    def config(
        self, filename: str, seed: int = 0, without: Collection[str] = ()
    ) -> Config:
        """Makes the config of a pipeline of the stages.

        Args:
            filename: Path of the grid's config; paths of training configs are relative to
                it.
            seed: Random seed.
            without: Names of stages to leave out, see :meth:`configs`.
        """
        content = dict(pipeline=self.configs(without), seed=seed)
        return Config(content, filename=str(filename))

    def _stays(self, name: str) -> bool:
        """Whether a stage that nothing reads is wanted: it is neither features nor trained."""
        return self._configs[name]['type'] not in (FeatureStage, TrainStage)

    def _plan_row(self, choice: Choice) -> None:
        matrix = self.matrix
        training = _training(choice.classifier, matrix.classifiers[choice.classifier])
        kept = dict(features=self._kept[0]) if self._kept else {}
        network = self._add(
            choice.classifier, self._kept, type=TrainStage, **training, **kept
        )
        name = f'{choice.classifier}__{choice.head}'
        maps = self._add(
            name,
            (network, *self._kept),
            type=SeedStage,
            model=network,
            head=matrix.heads[choice.head],
            dataset=matrix.images,
            **kept,
            **matrix.maps or {},
        )
        sweep = self._add(
            f'{name}__{BEST}',
            (maps,),
            type=EvaluateSeedStage,
            seeds=maps,
            dataset=matrix.masks,
            **matrix.score or {},
        )
        self.maps[choice] = maps
        before = (*self._kept, network, maps)
        self.cells[choice, BEST] = Cell((*before, sweep), sweep, 'best_miou')
        for refiner in matrix.refiners:
            self._plan_refiner(choice, refiner, before, sweep)

    def _plan_refiner(
        self, choice: Choice, refiner: str, before: tuple[str, ...], sweep: str
    ) -> None:
        matrix, maps = self.matrix, before[-1]
        refine = dict(matrix.refine or {})
        reads: tuple[str, ...] = (maps,)
        if refine.get('threshold') == 'best':
            refine['threshold'] = sweep
            before, reads = (*before, sweep), (maps, sweep)
        name = f'{choice.classifier}__{choice.head}__{refiner}'
        labels = self._add(
            name,
            reads,
            type=RefineStage,
            seeds=maps,
            dataset=matrix.images,
            refiners=matrix.refiners[refiner],
            **refine,
        )
        score = self._add(
            f'{name}__score',
            (labels,),
            type=EvaluateLabelStage,
            labels=labels,
            dataset=matrix.masks,
            **matrix.score or {},
        )
        self.cells[choice, refiner] = Cell((*before, labels, score), score, 'miou')

    def _add(self, name: str, reads: Iterable[str], **config: Any) -> str:
        """Adds a stage unless an equal one exists; returns the name of the stage."""
        content = _mutable(config)
        key = json.dumps(plain(content), sort_keys=True, default=str)
        if key not in self._names:
            self._names[key] = name
            self._configs[name] = dict(content, name=name)
            self._reads[name] = tuple(reads)
        return self._names[key]


def _training(name: str, given: Any) -> dict[str, Any]:
    """The arguments of a :class:`TrainStage` that the grid gives for a classifier."""
    training = dict(given) if isinstance(given, Mapping) else dict(config=given)
    right = isinstance(training.get('config'), str | Mapping)
    if not right or not training.keys() <= {'config', 'options'}:
        raise ConfigError(
            f"matrix.classifiers: '{name}' must be the file of a training config, or a "
            f"dict of 'config' and perhaps 'options', not {given!r}",
            token=name,
        )
    return training


def _mutable(node: Any) -> Any:
    """Copies nested dicts and lists, so that no container is shared."""
    if isinstance(node, Mapping):
        return {key: _mutable(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_mutable(value) for value in node)
    return node
