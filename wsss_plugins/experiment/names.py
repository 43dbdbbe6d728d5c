"""Resolves the names of data sets and trainings in a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from wsss_plugins.config import is_leg, load_config, spread_legs
from wsss_plugins.config_files import find_config
from wsss_plugins.errors import ConfigError, near_names

TRAINING_KEYS = frozenset({'config', 'options'})
"""Keys of a training that is given as a file with overrides."""


def named_stages(cfg: Config) -> list[dict[str, Any]]:
    """Lists the stages of a pipeline; replaces names of data sets and trainings.

    A stage may name a data set in the config's ``datasets`` (``dataset='images'``) and a
    training in its ``trainings`` (``config='classifier'``). A training is the file of a
    training config, by a path relative to the pipeline's file or by a short name; a dict
    of ``config`` and ``options``; or the content of a training config. A stage may also
    have the config of the data set, the file or the content itself.

    Args:
        cfg: A config with ``pipeline``, a list of stages and legs (see
            :func:`wsss_plugins.config.spread_legs`); ``filename`` is its file.

    Returns:
        Configs of the stages; they share no object with each other or with ``cfg``.

    Raises:
        ConfigError: The config has no list ``pipeline``, a stage names a data set or a
            training that is not defined, or a training config cannot be read.
    """
    content = cfg.to_dict()
    pipeline = content.get('pipeline')
    if not pipeline or not (isinstance(pipeline, list) or is_leg(pipeline)):
        raise ConfigError(
            f"{cfg.filename} has no list 'pipeline' of stages: to train one model use "
            'wsss train'
        )
    folder = Path(cfg.filename or '.').parent
    datasets, trainings = (_table(content, k) for k in ('datasets', 'trainings'))
    stages = []
    for stage in spread_legs(pipeline):
        if isinstance(stage, Mapping):
            stage = _with_datasets(dict(stage), datasets)
            stage = _with_training(stage, trainings, folder)
        stages.append(stage)
    return stages


def with_datasets(cfg: Config, node: Mapping[str, Any]) -> dict[str, Any]:
    """Copies ``node`` and replaces names of data sets.

    They are the values of ``images`` and ``masks``, and the data sets of its ``stages``.

    Raises:
        ConfigError: A name is not in ``datasets`` of ``cfg``.
    """
    datasets = _table(cfg.to_dict(), 'datasets')
    found = {
        key: _dataset(value, key, 'the matrix', datasets)
        if key in ('images', 'masks')
        else value
        for key, value in node.items()
    }
    if isinstance(found.get('stages'), Mapping):
        found['stages'] = {
            name: _with_datasets(dict(stage, name=name), datasets)
            if isinstance(stage, Mapping)
            else stage
            for name, stage in found['stages'].items()
        }
    return found


def _table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The config's ``datasets`` or ``trainings``; empty if it has none."""
    table = content.get(key) or {}
    if not isinstance(table, Mapping):
        raise ConfigError(
            f'{key} must be a dict from names to configs, not {table!r}', token=key
        )
    return table


def _with_datasets(
    stage: dict[str, Any], datasets: Mapping[str, Any]
) -> dict[str, Any]:
    where = f"stage '{stage.get('name')}'"
    return {
        key: _dataset(value, key, where, datasets)
        if key == 'dataset' or key.endswith('_dataset')
        else value
        for key, value in stage.items()
    }


def _dataset(value: Any, key: str, where: str, datasets: Mapping[str, Any]) -> Any:
    """Config of the data set that ``value`` names; other values are returned unchanged."""
    if not isinstance(value, str):
        return value
    if value not in datasets:
        raise ConfigError(
            f"{where}: {key}='{value}' is none of the config's datasets: "
            f'{near_names(value, datasets)}',
            token=value,
        )
    return _copy(datasets[value])


def _with_training(
    stage: dict[str, Any], trainings: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """Replaces the training that a stage names by the content of its config."""
    given = stage.get('config')
    if not isinstance(given, str):
        return stage
    name = stage.get('name')
    options = _options(stage.get('options'), f"stage '{name}'")
    found = trainings.get(given, given)
    if (
        isinstance(found, Mapping)
        and 'config' in found
        and found.keys() <= TRAINING_KEYS
    ):
        options = _options(found.get('options'), f"training '{given}'") | options
        found = found['config']
    stage = {key: value for key, value in stage.items() if key != 'options'}
    if isinstance(found, Mapping):
        if options:
            raise ConfigError(
                f"stage '{name}': options change a training config that is a file, and "
                f"'{given}' is written out in the pipeline: change it there",
                token='options',
            )
        return dict(stage, config=_copy(found))
    if not isinstance(found, str):
        raise ConfigError(
            f"training '{given}' must be the file of a training config, or a dict of "
            f"'config' and perhaps 'options', not {found!r}",
            token=given,
        )
    if trainings and found == given and not found.endswith('.py'):
        raise ConfigError(
            f"stage '{name}': config='{given}' is none of the config's trainings, and no "
            f'file: {near_names(given, trainings)}',
            token=given,
        )
    cfg = load_config(
        find_config(found, folder), options, f"options of stage '{name}',"
    )
    return dict(stage, config=cfg.to_dict())


def _options(options: Any, where: str) -> dict[str, Any]:
    if not isinstance(options or {}, Mapping):
        raise ConfigError(
            f'options of {where} must be a dict from dotted keys to values, not '
            f'{options!r}',
            token='options',
        )
    return dict(options or {})


def _copy(node: Any) -> Any:
    """Copies nested dicts and lists, so that no container is shared."""
    if isinstance(node, Mapping):
        return {key: _copy(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_copy(value) for value in node)
    return node
