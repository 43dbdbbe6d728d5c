"""Fills in the number of classes of a training, and checks its image-level labels."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import nn

from wsss_plugins.config import find_type, typed_nodes
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.datasets.configs import bare_config, first_dataset
from wsss_plugins.engine.class_names import refuse_other_names, trained_classes
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import DATASETS, build_as

LOADERS = ('train_dataloader', 'test_dataloader', 'val_dataloader')
FEW = 3
"""A class on fewer training images than this gets a warning."""


def fill_num_classes(cfg: Config) -> Config:
    """Replaces ``num_classes=None`` in a model by the number of classes of the data set.

    One config can thus serve any folder of photos. The number includes the background for
    decode heads of mmsegmentation, and excludes it for all other parts.

    Args:
        cfg: A training config; it is not changed.

    Returns:
        A copy with the numbers, or ``cfg`` itself if no ``num_classes`` is None.

    Raises:
        ConfigError: A ``num_classes`` is None, and no data set of the config is a
            :class:`WSSSDataset`.
        DataError: The data set cannot be read.
    """
    content = cfg.to_dict()
    model = content.get('model', {})
    if not any(_open_heads(model)):
        return cfg
    count = len(_data_set(content).foreground_classes)
    for node in _open_heads(model):
        kind = find_type(node['type'])
        is_decode_head = inspect.isclass(kind) and issubclass(kind, BaseDecodeHead)
        node['num_classes'] = count + is_decode_head
    filled = copy.deepcopy(cfg)
    filled.model = model
    return filled


def _open_heads(model: Any) -> Iterator[Any]:
    """The parts of a model whose ``num_classes`` is None."""
    for node in typed_nodes(model):
        if 'num_classes' in node and node['num_classes'] is None:
            yield node


def _data_set(content: dict[str, Any]) -> WSSSDataset:
    """Builds the first :class:`WSSSDataset` of a config, without transforms and masks."""
    for loader in LOADERS:
        node = first_dataset(content.get(loader))
        if node is not None:
            bare = bare_config(node, 'label_maps', 'leave_out', require_images=False)
            return build_as(DATASETS, bare, WSSSDataset)
    raise ConfigError(
        'num_classes=None stands for the number of classes of a WSSSDataset, and the config '
        'has none: give the number',
        token='num_classes',
    )


def refuse_other_class_names(model: nn.Module, dataset: WSSSDataset) -> None:
    """Refuses a data set whose classes are not those that a trained model learnt.

    A model whose class names are not known is taken as it is.

    Raises:
        DataError: A name or the order differs; names the first difference.
    """
    refuse_other_names(
        trained_classes(model),
        dataset.foreground_classes,
        f'this {type(model).__name__}',
        f'{type(dataset).__name__} {dataset.root}',
    )


def label_doubts(dataset: WSSSDataset) -> list[str]:
    """Warnings on classes that a classifier cannot learn from the image-level labels.

    Args:
        dataset: The training images.

    Returns:
        One line for the classes on all images, on none, and on fewer than three.

    Raises:
        DataError: Every class is on all images or on none, so that the labels teach
            nothing.
    """
    labels = np.stack([dataset.labels(i) for i in range(len(dataset))])
    shown = labels.sum(0).astype(int)
    groups: dict[str, list[str]] = {'all': [], 'none': [], 'few': []}
    for name, count in zip(dataset.foreground_classes, shown, strict=True):
        if count == len(labels):
            groups['all'].append(name)
        elif count == 0:
            groups['none'].append(name)
        elif count < FEW:
            groups['few'].append(f'{name} ({count})')
    if len(groups['all']) + len(groups['none']) == labels.shape[1]:
        what = (
            f'all show {", ".join(groups["all"])}' if groups['all'] else 'show no class'
        )
        remedy = 'without it' if groups['all'] else 'with tags'
        raise DataError(
            f'the {len(labels)} training images of {dataset.root} {what}, so that their '
            f'labels teach nothing: add images {remedy}'
        )
    said = []
    if groups['all']:
        said.append(
            f'every training image shows {", ".join(groups["all"])}: add others'
        )
    if groups['none']:
        said.append(f'no training image shows {", ".join(groups["none"])}')
    if groups['few']:
        said.append(f'few training images show {", ".join(groups["few"])}: add more')
    return said
