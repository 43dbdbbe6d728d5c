"""Reads and checks the dict ``matrix`` of a config, which defines a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmengine.config import Config

from wsss_plugins.arguments import check_names
from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.experiment.matrix.faithfulness import MEASURES, Faithfulness
from wsss_plugins.experiment.names import with_datasets

BEST = 'best_threshold'
"""Name of the column of maps at their best threshold; no refiner may have it."""

COLUMNS = frozenset({BEST, *MEASURES})
"""Names of columns that are there already."""

FEATURES = 'features'
"""Name of the stage of ``features``."""

OWN = frozenset({'name', 'model', 'head', 'dataset', 'seeds', 'labels', 'refiners'})
"""Arguments of stages that the grid sets; ``maps``, ``refine``, ``score`` may not."""


@dataclass(frozen=True)
class Matrix:
    """A grid of classifiers, seed heads and refiners, as a config's ``matrix`` gives it.

    Attributes:
        classifiers: Training config by name: the path of its file, relative to this
            config's, or a dict of ``config`` and ``options`` as for :class:`TrainStage`.
        heads: Config of a :class:`SeedHead` by name.
        refiners: List of configs of refiners by name, among them one background policy;
            or a dict of this list as ``refiners`` and of arguments of
            :class:`RefineStage` that replace those of ``refine``.
        images: Config of the images with their image-level labels, of which maps are
            made; or its name in the config's ``datasets``.
        masks: Config of the same images with ``label_maps``, to measure; or its name in
            the config's ``datasets``.
        seeds: Random seeds.
        maps: Further arguments of all :class:`SeedStage`.
        refine: Further arguments of all :class:`RefineStage`. ``threshold='best'`` uses
            the best threshold of the row's maps on ``masks``.
        score: Further arguments of all evaluation stages.
        features: Arguments of a :class:`FeatureStage`, on which then every classifier is
            trained and every map is made; None to decode photos.
        stages: Further stages by name, which run once for the whole grid and which
            refiners read, such as the training of an AffinityNet. They may read each
            other, ``'features'``, a classifier by its name and the maps of a row as
            ``'CLASSIFIER__HEAD'``.
        faithfulness: Arguments of :class:`Faithfulness`, to measure also how faithful
            every seed head is to its classifier; None to measure only where it is right.
        title: Title of the HTML page.
        notes: Text above the table; an empty line separates paragraphs.
        whole: The grid that this one is a part of; itself if it is none. ``stages`` may
            name rows that the part lacks.

    Raises:
        ConfigError: ``classifiers``, ``heads``, ``refiners`` or ``stages`` has a name
            that is not allowed, or one of the first three is empty, a value is of a wrong
            type, or a random seed is below 0 or listed twice.
    """

    classifiers: Mapping[str, Any]
    heads: Mapping[str, Mapping[str, Any]]
    refiners: Mapping[str, Sequence[Mapping[str, Any]]]
    images: Mapping[str, Any]
    masks: Mapping[str, Any]
    seeds: Sequence[int] = (0,)
    maps: Mapping[str, Any] | None = None
    refine: Mapping[str, Any] | None = None
    score: Mapping[str, Any] | None = None
    features: Mapping[str, Any] | None = None
    stages: Mapping[str, Mapping[str, Any]] | None = None
    faithfulness: Mapping[str, Any] | None = None
    title: str = 'Seed heads, classifiers and refiners'
    notes: str = ''
    whole: Matrix = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Checks the names, the refiners, the types of the values and the random seeds.

        Raises:
            ConfigError: A value is not allowed; the message names its key.
        """
        object.__setattr__(self, 'whole', self)
        for kind in ('classifiers', 'heads', 'refiners'):
            _check_names(kind, getattr(self, kind))
        for kind in ('images', 'masks', 'maps', 'refine', 'score', 'features'):
            if not isinstance(getattr(self, kind) or {}, Mapping):
                raise ConfigError(f'matrix.{kind} must be a dict', token=kind)
        for kind in ('maps', 'refine', 'score'):
            for key in OWN & set(getattr(self, kind) or {}):
                raise ConfigError(
                    f"matrix.{kind} may not have '{key}', which the matrix gives",
                    token=kind,
                )
        for name in self.refiners:
            self.refining(name)
        self._check_stages()
        self.tested()
        _check_seeds(self.seeds, 'matrix.seeds', 'seeds')

    def refining(self, name: str) -> dict[str, Any]:
        """Arguments of the :class:`RefineStage` of a column: ``refiners`` and others.

        Args:
            name: Name of the column, a key of :attr:`refiners`.

        Raises:
            ConfigError: The entry is neither a list of refiners nor a dict with one, or
                has an argument that the grid gives.
        """
        given = self.refiners[name]
        own = dict(given) if isinstance(given, Mapping) else dict(refiners=given)
        refiners = own.get('refiners')
        if not isinstance(refiners, list | tuple) or not refiners:
            raise ConfigError(
                f"matrix.refiners: '{name}' must be a list of refiners with a background "
                "policy, or a dict of 'refiners' and of arguments of a RefineStage, not "
                f'{given!r}',
                token=name,
            )
        for key in (OWN - {'refiners'}) & own.keys():
            raise ConfigError(
                f"matrix.refiners: '{name}' may not have '{key}', which the matrix gives",
                token=name,
            )
        return {**(self.refine or {}), **own}

    def tested(self) -> Faithfulness | None:
        """How faithfulness is measured; None if it is not.

        Raises:
            ConfigError: ``faithfulness`` has a wrong key or value.
        """
        given = self.faithfulness
        return None if given is None else Faithfulness.of(given)

    def _check_stages(self) -> None:
        if self.stages is None:
            return
        _check_names('stages', self.stages)
        for name, stage in self.stages.items():
            taken = name == FEATURES or name in self.classifiers
            if taken or not isinstance(stage, Mapping) or 'type' not in stage:
                why = 'is a stage already' if taken else "must be a dict with 'type'"
                raise ConfigError(f"matrix.stages: '{name}' {why}", token=name)

    @classmethod
    def of(cls, cfg: Config) -> Matrix:
        """Reads the grid of a config.

        Raises:
            ConfigError: The config has no dict ``matrix``, or the dict lacks a key or has
                an unknown one.
        """
        found = cfg.to_dict().get('matrix')
        if not isinstance(found, Mapping):
            raise ConfigError(
                f"{cfg.filename} has no dict 'matrix': a pipeline runs with wsss run"
            )
        check_names(cls, found)
        for key in ('classifiers', 'heads', 'refiners', 'images', 'masks'):
            if key not in found:
                raise ConfigError(f"the matrix needs also '{key}'", token='matrix')
        return cls(**with_datasets(cfg, found))

    def select(
        self,
        classifiers: Sequence[str] | None = None,
        heads: Sequence[str] | None = None,
        refiners: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Matrix:
        """A part of the grid, in the order of the arguments; None keeps all of a kind.

        Raises:
            ConfigError: A name is not in the grid or given twice, or a random seed is
                below 0 or given twice.
        """
        if seeds is not None:
            _check_seeds(seeds, '--seeds')
        part = replace(
            self,
            classifiers=_chosen('classifiers', self.classifiers, classifiers),
            heads=_chosen('heads', self.heads, heads),
            refiners=_chosen('refiners', self.refiners, refiners),
            seeds=self.seeds if seeds is None else list(seeds),
        )
        object.__setattr__(part, 'whole', self.whole)
        return part


def _check_names(kind: str, given: Any) -> None:
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(
            f'matrix.{kind} must be a dict from names to configs, with one at least',
            token=kind,
        )
    for name in given:
        wrong = not str(name).isidentifier() or '__' in name or name != name.strip('_')
        if wrong or name in COLUMNS:
            columns = ', '.join(sorted(COLUMNS))
            raise ConfigError(
                f'matrix.{kind}: a name must be letters, digits and single _ between them, '
                f"and none of {columns}, which is a column already; not '{name}'",
                token=name,
            )


def _check_seeds(seeds: Any, where: str, token: str | None = None) -> None:
    right = isinstance(seeds, list | tuple) and len(seeds) > 0
    if not right or any(type(s) is not int or s < 0 for s in seeds):
        raise ConfigError(
            f'{where} must be a list of whole numbers from 0 on, not {seeds!r}',
            token=token,
        )
    twice = [s for i, s in enumerate(seeds) if s in seeds[:i]]
    if twice:
        raise ConfigError(
            f'{where}: {twice[0]} comes twice: leave one out', token=token
        )


def _chosen(
    kind: str, known: Mapping[str, Any], names: Sequence[str] | None
) -> Mapping[str, Any]:
    if names is None:
        return known
    for i, name in enumerate(names):
        if name not in known:
            raise ConfigError(
                f"--{kind}: the matrix has no '{name}': {near_names(name, known)}"
            )
        if name in names[:i]:
            raise ConfigError(f"--{kind}: '{name}' comes twice: leave one out")
    return {name: known[name] for name in names}
