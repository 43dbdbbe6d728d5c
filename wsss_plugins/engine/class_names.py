"""Compares the names of the classes of a trained model with those of a data set.

The class ids of a model have a meaning only with the names that they had in training. The
names are stored in the header of the weights and in ``model.json`` beside them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from wsss_plugins.backbones.weights import header_of
from wsss_plugins.engine.model_file import has_model_config, read_model_config
from wsss_plugins.errors import DataError
from wsss_plugins.structures.layout import RESUME_FILE, WEIGHTS_FILE

CLASSES_KEY = 'classes'
"""Key in the header of a weight file, whose value is a JSON list of the names."""

ATTRIBUTE = 'trained_classes'


def classes_metadata(names: Sequence[str]) -> dict[str, str]:
    """The entry for the header of a weight file; empty if no names are given."""
    return {CLASSES_KEY: json.dumps(list(names))} if names else {}


def classes_of_weights(path: Path) -> tuple[str, ...]:
    """Reads the names of the foreground classes that a model was trained for.

    Args:
        path: A weight file of this package or of another project.

    Returns:
        The names in the header of the file; otherwise those in ``model.json`` beside the
        weights or the checkpoint of a training; empty if neither has names.

    Raises:
        CheckpointError: The config beside the weights cannot be read.
    """
    try:
        names = json.loads(header_of(path).get(CLASSES_KEY, '[]'))
    except ValueError:
        names = []
    if isinstance(names, list) and names and all(isinstance(n, str) for n in names):
        return tuple(names)
    beside = path.name in (WEIGHTS_FILE, RESUME_FILE) and has_model_config(path.parent)
    return tuple(read_model_config(path.parent).get('classes', ())) if beside else ()


def note_trained_classes(model: nn.Module, names: Sequence[str]) -> None:
    """Stores the names of the classes that a model was trained for as its attribute."""
    setattr(model, ATTRIBUTE, tuple(names))


def trained_classes(model: nn.Module) -> tuple[str, ...]:
    """The names that :func:`note_trained_classes` stored; empty if there are none."""
    return tuple(getattr(model, ATTRIBUTE, ()))


def refuse_other_names(
    trained: Sequence[str], there: Sequence[str], model: str, data: str
) -> None:
    """Refuses data whose classes have other names, or another order, than the model's.

    If the names of the model or of the data set are not known, nothing is refused.

    Args:
        trained: Names of the foreground classes of the model's training, in order.
        there: Names of the foreground classes of the data set, in order.
        model: Name of the model, for the message.
        data: Name of the data set, for the message.

    Raises:
        DataError: The two lists differ; the message names the first difference.
    """
    trained, there = tuple(trained), tuple(there)
    if not trained or not there or trained == there:
        return
    at = next(
        (
            i
            for i, pair in enumerate(zip(trained, there, strict=False))
            if len(set(pair)) > 1
        ),
        min(len(trained), len(there)),
    )
    own, other = (
        f"'{names[at]}'" if at < len(names) else 'no class'
        for names in (trained, there)
    )
    order = set(trained) == set(there)
    remedy = (
        'list the classes of the data set in the order of the model'
        if order
        else 'take a model that was trained for the classes of these data, or data '
        'with the classes of the model'
    )
    raise DataError(
        f'{model} was trained for {len(trained)} classes and {data} has {len(there)}, '
        f'and class {at + 1} is {own} for the model and {other} in the data: {remedy}'
    )
