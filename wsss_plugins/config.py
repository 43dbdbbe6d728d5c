"""Reading and checking configs before any work begins."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from wsss_plugins.arguments import check_arguments, check_seed, check_shapes
from wsss_plugins.config_files import CONFIGS, find_config
from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    REFINERS,
    SEED_HEADS,
    TRANSFORMS,
    find_type,
)
from wsss_plugins.shares import in_whole_epochs

SPEED = 'speed'
"""Key of a training config with the switches of :class:`wsss_plugins.engine.speed.Speed`."""

# Keys that mmengine's builders take out before the class sees them.
BUILDER_KEYS = frozenset(
    {
        'by_epoch',
        'constructor',
        'convert_to_iter_based',
        'init_cfg',
        'override',
        'paramwise_cfg',
        'priority',
        'requires_grad',
    }
)


KINDS: dict[str, Registry | None] = {
    'config': None,
    'custom_hooks': HOOKS,
    'dataset': DATASETS,
    'default_hooks': HOOKS,
    'head': SEED_HEADS,
    'heads': SEED_HEADS,
    'methods': SEED_HEADS,
    'model': MODELS,
    'optim_wrapper': OPTIM_WRAPPERS,
    'optimizer': OPTIMIZERS,
    'param_scheduler': PARAM_SCHEDULERS,
    'pipeline': TRANSFORMS,
    'prediction_dataset': DATASETS,
    'refiners': REFINERS,
    'sampler': DATA_SAMPLERS,
    'train_cfg': LOOPS,
    'val_cfg': LOOPS,
    'val_evaluator': METRICS,
}
"""The registry of what stands under a key of a config, at any depth."""


def load_config(
    path: Path | str,
    overrides: Mapping[str, Any] | None = None,
    source: str = '--cfg-options',
) -> Config:
    """Reads a Python config.

    A name that begins with an underscore is a helper of the files that use it, such as
    ``_load, _resize, _crop = val_dataloader.dataset.pipeline``; it is no part of the
    config.

    Args:
        path: The file, or the short name of a config of this package; see
            :func:`wsss_plugins.config_files.find_config`.
        overrides: Dotted keys and their values, as ``--cfg-options`` gives them. A
            stage is reached by its name (``pipeline.cam.scales``), an item of any list
            by its number (``pipeline.1.scales``).
        source: Where the overrides were written; errors begin with it.

    Returns:
        The config; ``.filename`` is the file, and ``pipeline`` a list of stages, see
        :func:`spread_legs`. Shares in the schedules of a training are whole epochs where
        that is exact, see :func:`wsss_plugins.shares.in_whole_epochs`.

    Raises:
        ConfigError: The file is missing or wrong, or an override names no key.
    """
    path = find_config(path)
    try:
        cfg = Config.fromfile(str(path), lazy_import=True)
    except SyntaxError as error:
        raise _syntax_error(path) from error
    except Exception as error:  # a config is a program: anything may come out of it
        reason = ' '.join(str(error).split()) or type(error).__name__
        lines = [f for f in extract_tb(error.__traceback__) if f.name == '<module>']
        place = f'{lines[-1].filename}:{lines[-1].lineno}: ' if lines else ''
        raise ConfigError(f'{place}config {path} cannot be read: {reason}') from error
    for name in [name for name in cfg if name.startswith('_')]:
        cfg.pop(name)
    if is_leg(cfg.get('pipeline')) or isinstance(cfg.get('pipeline'), list):
        cfg.pipeline = spread_legs(cfg.pipeline)
    for key, value in (overrides or {}).items():
        _override(cfg, key, value, f'{source} {key}')
    check_shapes(cfg)
    check_seed(cfg.get('seed', 0))
    _refuse_mere_names(cfg, overrides or {}, source)
    in_whole_epochs(cfg)
    return cfg


def _refuse_mere_names(cfg: Config, overrides: Mapping[str, Any], source: str) -> None:
    """Refuses a length for ``max_epochs``, a variable that the file has used already."""
    name, key = 'max_epochs', 'train_cfg.max_epochs'
    if name in overrides and key not in overrides and 'train_cfg' in cfg:
        raise ConfigError(
            f'{source} {name}: this is a variable of the config, and the training keeps '
            f'its length: use {key}={overrides[name]}',
            token=name,
        )


def spread_legs(pipeline: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    """The stages of a pipeline, which is a list of stages and legs, or one leg.

    A leg is a dict from names to the stages that have them, in the order in which they
    run. It has no ``type``, which every stage has.

    Args:
        pipeline: The list, or the leg.

    Returns:
        The stages; those of a leg have their key as ``name``.

    Raises:
        ConfigError: A stage of a leg has another name than its key.
    """
    stages: list[Any] = []
    items: Sequence[Any] = [pipeline] if is_leg(pipeline) else list(pipeline)
    for item in items:
        if not is_leg(item):
            stages.append(item)
            continue
        for name, stage in item.items():
            if stage.get('name', name) != name:
                raise ConfigError(
                    f"the stage '{name}' of a leg may not be named otherwise, "
                    f"'{stage['name']}': leave its name out",
                    token=stage['name'],
                )
            stages.append(copy.copy(stage))  # which, unlike dict(), imports no class
            stages[-1]['name'] = name
    return stages


def is_leg(item: Any) -> bool:
    """Whether it is a leg: a dict of stages by name, see :func:`spread_legs`."""
    return (
        isinstance(item, Mapping)
        and 'type' not in item
        and len(item) > 0
        and all(isinstance(stage, Mapping) for stage in item.values())
    )


def _syntax_error(path: Path) -> ConfigError:
    """The error of a config that is no Python, or that reads one that is none."""
    try:
        for _ in _syntax_trees(path):
            pass
    except SyntaxError as error:
        place = f'{error.filename}:{error.lineno}'
        return ConfigError(f'{place}: no valid Python: {error.msg}')
    return ConfigError(f'config {path} cannot be read: it is no valid Python')


def _override(cfg: Config, key: str, value: Any, option: str) -> None:
    """Sets the dotted ``key``; only its last part may be new, and not in a list.

    The switches of a training need not be there: ``speed`` of a training config is made.
    """
    *parents, last = key.split('.')
    node: Any = cfg
    if parents == [SPEED] and 'train_dataloader' in cfg:
        cfg.setdefault(SPEED, {})
    for part in parents:
        node = node[_step(node, part, option)]
    if isinstance(node, list):
        node[_step(node, last, option)] = value
    elif isinstance(node, (Mapping, Config)):
        node[last] = value  # type: ignore[index]
    else:
        raise ConfigError(f"{option}: '{parents[-1]}' has no parts to set", token=key)


def _step(node: Any, part: str, option: str) -> Any:
    """What to index ``node`` with to reach ``part`` of a dotted key."""
    steps: dict[str, Any] = {}
    shown: Collection[str] = ()
    if isinstance(node, list):
        names = {str(v['name']): i for i, v in enumerate(node) if _has_name(v)}
        steps = {str(i): i for i in range(len(node))} | names
        shown = names
    elif isinstance(node, (Mapping, Config)):
        steps = {str(name): name for name in node}
    if part not in steps:
        near = near_names(part, shown or steps)
        raise ConfigError(f"{option}: there is no '{part}'; {near}", token=part)
    return steps[part]


def _has_name(item: Any) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get('name'), str)


def set_everywhere(node: Any, key: str, value: Any) -> None:
    """Replaces the value of ``key`` in every dict below ``node`` that has it."""
    if isinstance(node, (Mapping, Config)):
        for name in list(node):
            if name == key:
                node[name] = value  # type: ignore[index]
            else:
                set_everywhere(node[name], key, value)
    elif isinstance(node, (list, tuple)):
        for item in node:
            set_everywhere(item, key, value)


def typed_nodes(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yields every dict below ``node`` that has a ``type``."""
    if isinstance(node, Mapping):
        if 'type' in node:
            yield node
        for value in node.values():
            yield from typed_nodes(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from typed_nodes(value)


def check_config(cfg: Any, kind: Registry | None = None) -> None:
    """Refuses unknown types and misspelt arguments anywhere in ``cfg``.

    Args:
        cfg: A config, or a part of one.
        kind: The registry of ``cfg``, or of its items.

    Raises:
        ConfigError: The first mistake found; lists near names.
    """
    for node, place in _nodes_of_kinds(cfg, kind):
        cls = find_type(node['type'], near=place)
        if inspect.isclass(cls):
            known = {k: v for k, v in node.items() if not _is_filled_in(k, v)}
            check_arguments(cls, known, also=BUILDER_KEYS)


def _is_filled_in(key: str, value: Any) -> bool:
    """Whether a value stands for what a later step puts in its place.

    It is a number of classes that the data tell, or the name of a data set or a training
    of a pipeline; building the stage checks what was put there.
    """
    if key == 'num_classes':
        return value is None
    named = key in ('dataset', 'config') or key.endswith('_dataset')
    return named and isinstance(value, str)


def _nodes_of_kinds(
    node: Any, kind: Registry | None
) -> Iterator[tuple[Mapping[str, Any], Registry | None]]:
    """Yields every dict that has a ``type``, and the registry that its place asks for."""
    if isinstance(node, Mapping):
        if 'type' in node:
            yield node, kind
        for key, value in node.items():
            below = KINDS.get(str(key), kind)
            if key == 'head' and kind is MODELS:  # of a classifier, not a seed head
                below = MODELS
            yield from _nodes_of_kinds(value, below)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _nodes_of_kinds(value, kind)


def plain(node: Any) -> Any:
    """``node`` as dicts, lists, numbers and strings; classes become dotted names."""
    if isinstance(node, Mapping):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [plain(value) for value in node]
    if inspect.isclass(node) or inspect.isroutine(node):
        return f'{node.__module__}.{node.__qualname__}'
    if isinstance(node, Path):
        return str(node)
    return node


def has_word(node: Any, word: str) -> bool:
    """Whether ``word`` is a key or a string anywhere in ``node``."""
    if isinstance(node, Mapping):
        return any(str(k) == word or has_word(v, word) for k, v in node.items())
    if isinstance(node, list | tuple):
        return any(has_word(value, word) for value in node)
    return isinstance(node, str) and word in (node, node.rsplit('.', 1)[-1])


def locate(path: Path | str, token: str) -> str | None:
    """Finds where a config, or a config it reads, has the word ``token``.

    Args:
        path: The config file.
        token: A keyword, a name or a string of it.

    Returns:
        ``'file:line'``, or None.
    """
    for file, tree in _syntax_trees(Path(path)):
        nodes = [n for n in ast.walk(tree) if token in _words(n)]
        if nodes:  # where it is used, rather than where it is imported
            node: Any = min(nodes, key=lambda n: isinstance(n, ast.alias))
            return f'{file}:{node.lineno}'
    return None


def _syntax_trees(path: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Yields a config and the configs it reads, each with its syntax tree.

    Raises:
        SyntaxError: A config file is not valid Python; the message names the file.
    """
    pending, seen = [path], set[Path]()
    while pending:
        file = pending.pop(0)
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        tree = ast.parse(file.read_text(encoding='utf-8'), filename=str(file))
        yield file, tree
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                pending.append(_imported_config(node, file))


def _imported_config(node: ast.ImportFrom, file: Path) -> Path:
    """The config that ``from ..base import x`` in a config names, if it names one."""
    module = node.module or ''
    if node.level:
        folder = file.parents[node.level - 1]
    else:  # from wsss_plugins.configs.acr.voc import x
        folder, module = CONFIGS, module.removeprefix('wsss_plugins.configs.')
    return folder.joinpath(*module.split('.')).with_suffix('.py')


def _words(node: Any) -> tuple[object, ...]:
    """What a user wrote at one node of the syntax tree."""
    if isinstance(node, ast.keyword):
        return (node.arg,)
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.alias):
        return (node.name, node.asname)
    if isinstance(node, ast.Constant):
        return (node.value,)
    return ()
