"""Configs of data sets: finding them in a larger config, and leaving out parts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from wsss_plugins.config import find_type, typed_nodes
from wsss_plugins.datasets.base import WSSSDataset


def dataset_configs(node: Any) -> Iterator[Mapping[str, Any]]:
    """Yields every config of a :class:`WSSSDataset` at or below ``node``, in order.

    Args:
        node: Any part of a config: a dict, a list or a plain value.

    Raises:
        ConfigError: A type that is met on the way is not registered.
    """
    for each in typed_nodes(node):
        kind = find_type(each['type'])
        if inspect.isclass(kind) and issubclass(kind, WSSSDataset):
            yield each


def first_dataset(node: Any) -> Mapping[str, Any] | None:
    """The first config that :func:`dataset_configs` yields, or None."""
    return next(dataset_configs(node), None)


def first_datasets(node: Any) -> list[Mapping[str, Any]]:
    """The :func:`first_dataset` of a config, or of each config in a list.

    Args:
        node: A config, or a list of configs; those without a data set are left out.
    """
    found = map(first_dataset, node if isinstance(node, list | tuple) else [node])
    return [each for each in found if each is not None]


def bare_config(
    config: Mapping[str, Any], *leave: str, **settings: Any
) -> dict[str, Any]:
    """A data set's config without its pipeline: enough to list images and labels.

    Args:
        config: The config of a data set; it is left alone.
        *leave: Keys to leave out besides ``pipeline``.
        **settings: Keys to add or replace, such as ``require_images=False``.

    Returns:
        A new dict; the values are shared with ``config``.
    """
    left_out = {'pipeline', *leave}
    return {k: v for k, v in config.items() if k not in left_out} | settings


def config_before_training(
    config: Mapping[str, Any], **settings: Any
) -> dict[str, Any]:
    """The :func:`bare_config` of a data set that can be built before any stage has run.

    The label maps of a training set are left out, because an earlier stage may still
    have to write them. Those of a data set with ``test_mode`` are ground truth and stay.

    Args:
        config: Config of the data set.
        **settings: Values that replace those of the config, see :func:`bare_config`.
    """
    leave = () if config.get('test_mode') else ('label_maps',)
    return bare_config(config, *leave, **settings)
