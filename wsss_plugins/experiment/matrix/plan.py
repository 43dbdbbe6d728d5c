"""Turns a grid of classifiers, seed heads and refiners into the stages of a pipeline."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from mmengine.config import Config

from wsss_plugins.config import plain
from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment.matrix.faithfulness import MEASURES, METHOD
from wsss_plugins.experiment.matrix.wanted import BEST, FEATURES, Matrix
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
        cells: The cells by row and column; a column is :data:`BEST`, the name of a list
            of refiners, or with ``faithfulness`` one of :data:`MEASURES`.
        maps: Name of the stage that makes the maps of each row.
        networks: Name of the stage that trains each classifier, by the classifier's name.
        shared: Names of the stages that serve all rows of a column, by column: those of
            ``stages`` that its refiners read, after those that these read.

    Raises:
        ConfigError: A classifier is no training; or ``stages`` name rows that the grid
            does not have, or read each other in a circle.
    """

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self._configs: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._reads: dict[str, tuple[str, ...]] = {}
        self.cells: dict[tuple[Choice, str], Cell] = {}
        self.maps: dict[Choice, str] = {}
        self.networks: dict[str, str] = {}
        self.shared: dict[str, tuple[str, ...]] = {}
        self._kept: tuple[str, ...] = ()
        if matrix.features is not None:
            given = dict(matrix.features)
            self._kept = (self._add(FEATURES, (), type=FeatureStage, **given),)
        self._further: dict[str, tuple[str, ...]] = {}
        for classifier, head in product(matrix.classifiers, matrix.heads):
            self._plan_row(Choice(classifier, head))

    @property
    def choices(self) -> list[Choice]:
        """The rows, in order."""
        return list(self.maps)

    @property
    def columns(self) -> list[str]:
        """The columns, in order."""
        measures = MEASURES if self.matrix.tested() else ()
        return [BEST, *self.matrix.refiners, *measures]

    @property
    def localisation(self) -> list[str]:
        """The columns of mIoU: those of :attr:`columns` that need masks."""
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
        network, maps = self._plan_maps(choice)
        name = f'{choice.classifier}__{choice.head}'
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
        self._plan_tests(choice, before)

    def _plan_maps(self, choice: Choice) -> tuple[str, str]:
        """Adds the training and the maps of a row; returns the names of both stages."""
        matrix, name = self.matrix.whole, choice.classifier
        network = self._plan_training(name)
        kept = dict(features=self._kept[0]) if self._kept else {}
        maps = self._add(
            f'{name}__{choice.head}',
            (network, *self._kept),
            type=SeedStage,
            model=network,
            head=matrix.heads[choice.head],
            dataset=matrix.images,
            **kept,
            **matrix.maps or {},
        )
        return network, maps

    def _plan_training(self, name: str) -> str:
        """Adds the training of a classifier; returns the name of the stage."""
        training = _training(name, self.matrix.whole.classifiers[name])
        kept = dict(features=self._kept[0]) if self._kept else {}
        network = self._add(name, self._kept, type=TrainStage, **training, **kept)
        self.networks[name] = network
        return network

    def _plan_tests(self, choice: Choice, before: tuple[str, ...]) -> None:
        """Adds the tests of the faithfulness of a row, if they are wanted."""
        matrix, (network, maps) = self.matrix, before[-2:]
        tested = matrix.tested()
        if tested is None:
            return
        head = matrix.heads[choice.head]
        stages = {}
        for end, config in tested.stages(head, matrix.images).items():
            name = f'{choice.classifier}__{choice.head}__{end}'
            # The maps are no input, but what refuses them refuses the test.
            stages[end] = self._add(name, (network, maps), model=network, **config)
        for column, measure in MEASURES.items():
            stage = stages[measure.stage]
            self.cells[choice, column] = Cell(
                (*before, stage), stage, f'{METHOD}_{column}'
            )

    def _plan_further(self, name: str, below: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Adds a stage of the grid's ``stages`` with those that it reads.

        Args:
            name: Name of the stage.
            below: Names of the stages that read it.

        Returns:
            Names of all stages that it depends on, in order, itself included.
        """
        further = self.matrix.stages or {}
        if name in self._further:
            return self._further[name]
        if name in below:
            raise ConfigError(
                f"matrix.stages: '{name}' reads itself through {', '.join(below)}",
                token=name,
            )
        content = {key: value for key, value in further[name].items() if key != 'name'}
        reads: list[str] = []
        known: dict[str, str] = {}
        for word in dict.fromkeys(_words(content)):
            found = self._source(word, (*below, name))
            reads += found
            known |= {word: found[-1]} if found else {}
        reads = list(dict.fromkeys(reads))
        added = self._add(name, reads, **_renamed(content, known))
        self._further[name] = (*reads, added)
        return self._further[name]

    def _source(self, word: str, below: tuple[str, ...]) -> tuple[str, ...]:
        """The stages behind a name in a config, itself last; none if it names no stage."""
        whole = self.matrix.whole
        if word in (whole.stages or {}):
            return self._plan_further(word, below)
        if word in self._kept:
            return (word,)
        name, _, head = word.partition('__')
        if name in whole.classifiers and head in whole.heads:
            return (*self._kept, *self._plan_maps(Choice(name, head)))
        if word in whole.classifiers:
            return (*self._kept, self._plan_training(word))
        return ()

    def _plan_refiner(
        self, choice: Choice, refiner: str, before: tuple[str, ...], sweep: str
    ) -> None:
        matrix, maps = self.matrix, before[-1]
        refine = matrix.refining(refiner)
        further = [
            stage
            for word in dict.fromkeys(_words(refine))
            if word in (matrix.stages or {})
            for stage in self._plan_further(word)
        ]
        if further:
            self.shared[refiner] = tuple(dict.fromkeys(further))
        reads: tuple[str, ...] = (maps, *further)
        before = tuple(dict.fromkeys((*further, *before)))
        if refine.get('threshold') == 'best':
            refine['threshold'] = sweep
            before, reads = (*before, sweep), (*reads, sweep)
        name = f'{choice.classifier}__{choice.head}__{refiner}'
        labels = self._add(
            name,
            reads,
            type=RefineStage,
            seeds=maps,
            dataset=matrix.images,
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


def _words(node: Any) -> Iterator[str]:
    """Yields every text in nested dicts and lists, other than types."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            if key != 'type':
                yield from _words(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _words(value)


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    """Copies nested dicts and lists, with other texts in place of those in ``names``."""
    if isinstance(node, str):
        return names.get(node, node)
    if isinstance(node, Mapping):
        return {
            key: value if key == 'type' else _renamed(value, names)
            for key, value in node.items()
        }
    if isinstance(node, list | tuple):
        return type(node)(_renamed(value, names) for value in node)
    return node


def _mutable(node: Any) -> Any:
    """Copies nested dicts and lists, so that no container is shared."""
    if isinstance(node, Mapping):
        return {key: _mutable(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_mutable(value) for value in node)
    return node
