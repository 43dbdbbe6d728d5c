"""The registries every plug-in lives in.

Kinds that OpenMMLab knows (models, data sets, transforms, metrics, hooks ...)
register into children of mmsegmentation's registries, so that a plug-in of
mmseg or mmengine resolves from a config of ours too. The three kinds that only
weakly-supervised segmentation has are root registries of their own:
:data:`SEED_HEADS`, :data:`REFINERS` and :data:`STAGES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import mmseg.registry as mmseg_registry
from mmengine.registry import Registry

from wsss_plugins.arguments import check_arguments, check_complete
from wsss_plugins.errors import ConfigError, UserError, described, near_names
from wsss_plugins.plugins import load_plugins

SCOPE = 'wsss_plugins'
MOVED = {
    'wsss_plugins.stages.ReportStage': 'wsss_plugins.report.ReportStage',
    'wsss_plugins.stages.EpochSeedHook': 'wsss_plugins.engine.EpochSeedHook',
    'wsss_plugins.stages.ProgressHook': 'wsss_plugins.engine.ProgressHook',
    'wsss_plugins.stages.ResumePointHook': 'wsss_plugins.engine.ResumePointHook',
    'wsss_plugins.stages.WSSSRunner': 'wsss_plugins.engine.WSSSRunner',
}
"""Where plug-ins live now, by the dotted path under which earlier configs import them."""

T = TypeVar('T')


def _child(name: str, *packages: str) -> Registry:
    """Makes our child of mmseg's registry ``name``, filled from ``packages``."""
    parent = getattr(mmseg_registry, name)
    return Registry(
        parent.name,
        parent=parent,
        scope=SCOPE,
        locations=[f'{SCOPE}.{package}' for package in packages],
    )


def _root(name: str, packages: Sequence[str], contract: str) -> Registry:
    """Makes a registry of our own, whose docstring is the contract of what may register."""
    locations = [f'{SCOPE}.{package}' for package in packages]
    registry = Registry(name, scope=SCOPE, locations=locations)
    registry.__doc__ = contract
    return registry


MODELS = _child(
    'MODELS', 'backbones', 'classifiers', 'segmentors', 'losses', 'affinity'
)
DATASETS = _child('DATASETS', 'datasets')
TRANSFORMS = _child('TRANSFORMS', 'datasets')
METRICS = _child('METRICS', 'metrics')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'datasets')
HOOKS = _child('HOOKS', 'engine')
RUNNERS = _child('RUNNERS', 'engine')

# Nothing of ours registers in those without packages. They must be there all the same:
# mmengine builds with our scope as the default one, asks for the child of each registry in
# that scope, and logs 'Failed to search registry' where there is none.
EVALUATOR = _child('EVALUATOR')
INFERENCERS = _child('INFERENCERS')
LOG_PROCESSORS = _child('LOG_PROCESSORS')
LOOPS = _child('LOOPS')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS')
OPTIMIZERS = _child('OPTIMIZERS')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'segmentors')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS')
RUNNER_CONSTRUCTORS = _child('RUNNER_CONSTRUCTORS')
TASK_UTILS = _child('TASK_UTILS')
VISBACKENDS = _child('VISBACKENDS')
VISUALIZERS = _child('VISUALIZERS')
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS')

SEED_HEADS = _root(
    'seed head',
    ['seeds'],
    """Seed heads: from a trained classifier to class localisation maps.

The registered object must be a subclass of ``wsss_plugins.seeds.SeedHead``: a
module called with ``(model, images, labels)`` of shapes ``(N, 3, H, W)`` and
``(N, C)`` in {0, 1}, which returns ``(N, C, h, w)`` >= 0 with exactly 0 for the
classes that are absent.""",
)
REFINERS = _root(
    'refiner',
    ['refiners'],
    """Refiners: from one seed to a better one.

The registered object must be a subclass of ``wsss_plugins.refiners.Refiner``:
called with an image ``(3, H, W)`` uint8 RGB and a ``Seed`` of the same size, it
returns a ``Seed`` of the same classes and size and leaves its input unchanged.""",
)
STAGES = _root(
    'stage',
    ['stages', 'report'],
    """Stages: from the folders of earlier stages to one folder of artefacts.

The registered object must be a subclass of ``wsss_plugins.engine.Stage``: its
``run(out, inputs)`` writes only under ``out`` and returns the metrics it
measured as plain numbers.""",
)


def all_registries() -> Iterator[tuple[str, Registry]]:
    """Yields ``(name, registry)`` of every registry of this module."""
    for name, value in globals().items():
        if isinstance(value, Registry):
            yield name, value


def plugin_names(registry: Registry) -> list[str]:
    """Names of everything that a config may name in ``registry``.

    These are the plug-ins of this package, of mmseg and mmengine, and of packages that
    :func:`wsss_plugins.plugins.load_plugins` finds.
    """
    load_plugins()
    return sorted({name for node in _filled(registry) for name in node.module_dict})


def _filled(registry: Registry) -> list[Registry]:
    """The registry and its parents, after the import of all that registers in them.

    mmengine imports for the registry that is asked only, and would find mmcv's class
    of a name instead of mmseg's.
    """
    nodes, node = [], registry
    while node is not None:
        node.import_from_location()
        nodes.append(node)
        node = node.parent
    return nodes


def find_type(
    given: object, registry: Registry | None = None, near: Registry | None = None
) -> Any:
    """The class or callable that ``type=given`` means: the one look-up of plug-ins.

    Args:
        given: A name, a dotted path, or a class.
        registry: Where a name is looked up; by default in every registry.
        near: The registry whose names an error lists, where it is known that a plug-in
            of its kind is meant; by default those of where the name was looked up.

    Raises:
        ConfigError: Nothing is registered under that name, or, where ``registry`` is
            given, ``given`` is neither a name nor a class.
    """
    if not isinstance(given, str):
        if registry is not None and not callable(given):
            raise ConfigError(
                f'type of a {registry.name} must be a name or a class, not {given!r}'
            )
        return given
    path = MOVED.get(given, given)
    registries = [registry] if registry else [node for _, node in all_registries()]
    found = _first(path, registries)
    if found is None:
        load_plugins()
        found = _first(path, registries)
    if found is not None:
        return found
    kind = near or registry
    listed = [kind] if kind else registries
    names = [name for node in listed for name in plugin_names(node)]
    name = path.rsplit('.', 1)[-1]
    raise ConfigError(
        f"unknown {kind.name if kind else 'type'} '{given}': {near_names(name, names)}",
        token=name,
    )


def _first(path: str, registries: Sequence[Registry]) -> Any | None:
    """What the first registry that knows a name or a dotted path has under it."""
    for node in registries:
        try:
            found = _filled(node)[0].get(path)
        except RuntimeError as error:  # the path of a module that cannot be imported
            raise ConfigError(
                f"type '{path}' cannot be imported "
                f'({described(error.__context__ or error)}): correct its path, or give the '
                f'name of a {node.name}',
                token=path.rsplit('.', 1)[-1],
            ) from error
        if found is not None:
            return found
    return None


PARTS_OF_MODELS = (MODELS, SEED_HEADS, REFINERS, TASK_UTILS)
"""The registries of networks and what they are made of. The others have types that read
and run configs, such as Runner and the inferencers of mmseg."""


def registered(
    given: str, registries: Sequence[Registry] = PARTS_OF_MODELS
) -> Any | None:
    """The plug-in that a name or a dotted path means; no path is imported.

    mmengine's own look-up imports whatever module a dotted path names. Here the last part
    is looked up in the registries, after the plug-ins of other packages were loaded where
    it is not there, and what stands before it must be the module of the class or a package
    around it.

    Args:
        given: Such as 'CAM' or 'wsss_plugins.seeds.CAM'.
        registries: Where it is looked up; by default those of the parts of models.

    Returns:
        The class, or None where none is registered.
    """
    found = _registered(given, registries)
    if found is None:
        load_plugins()
        found = _registered(given, registries)
    return found


def _registered(given: str, registries: Sequence[Registry]) -> Any | None:
    package, _, name = given.rpartition('.')
    for registry in registries:
        for node in _filled(registry):
            found = node.module_dict.get(name)
            home = getattr(found, '__module__', '')
            if found is not None and f'{home}.'.startswith(
                f'{package}.' if package else ''
            ):
                return found
    return None


def build_as(registry: Registry, cfg: Mapping[str, Any] | Any, kind: type[T]) -> T:
    """Builds ``cfg`` from ``registry`` and insists on its kind.

    mmengine lets ``type=SomeClass`` bypass the registries, so that a config of
    the wrong kind would fail much later; this function refuses it at once.

    Args:
        registry: Where a ``type`` given by name is looked up.
        cfg: A dict with ``type``, or an object that is already built.
        kind: The base class that the result must have.

    Returns:
        The built object.

    Raises:
        ConfigError: An unknown name, a misspelt key, a value or an object of another kind,
            or a constructor that fails.
    """
    if isinstance(cfg, kind):
        return cfg
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ConfigError(
            f"a {registry.name} must be a dict with the key 'type', not {cfg!r}"
        )
    cls = find_type(cfg['type'], registry)
    name = getattr(cls, '__name__', str(cls))
    if inspect.isclass(cls) and not issubclass(cls, kind):
        known = {n: find_type(n, registry) for n in plugin_names(registry)}
        fitting = [
            n for n, c in known.items() if inspect.isclass(c) and issubclass(c, kind)
        ]
        raise ConfigError(
            f'{name} is no {registry.name}: a subclass of {kind.__name__} is needed; '
            f'{near_names(name, fitting)}',
            token=name,
        )
    check_arguments(cls, cfg)
    check_complete(cls, cfg)
    try:
        with registry.switch_scope_and_registry(SCOPE):
            built = registry.build(dict(cfg, type=cls))
    except (UserError, OSError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # a constructor is a program: anything may come out of it
        raise ConfigError(
            f'{name} cannot be built, {described(error)}', token=name
        ) from error
    if not isinstance(built, kind):
        raise ConfigError(
            f'{name} built a {type(built).__name__}, not a {kind.__name__}', token=name
        )
    return built
