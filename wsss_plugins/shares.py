"""Lengths in schedules that are shares of a training, in whole epochs where that is exact.

In ``param_scheduler`` a float is a share of the training (``end=1.0``, ``begin=0.05``), an
integer a number of epochs, or of iterations with ``by_epoch=False``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from functools import partial
from typing import Any

from wsss_plugins.errors import ConfigError

AS_WRITTEN = 'schedule_as_written'
"""Key of a training config: True if schedules that do not fit the training are meant."""

LENGTHS = (
    'begin',
    'end',
    'T_max',
    'total_steps',
    'step_size',
    'milestones',
    'periods',
)
"""Arguments of mmengine's schedules that count epochs or iterations."""


def schedules_of(given: Any) -> Iterator[MutableMapping[str, Any]]:
    """Yields the configs of schedules in a ``param_scheduler``.

    Args:
        given: The config of a schedule, a list of those, or a dict of such lists, by
            the name of an optimiser. Built schedules in it are passed over.
    """
    if isinstance(given, MutableMapping):
        parts = [given] if 'type' in given else list(given.values())
        if 'type' in given:
            yield given
            return
    else:
        parts = list(given) if isinstance(given, Sequence) else []
    for part in parts:
        yield from schedules_of(part)


def is_share(value: Any) -> bool:
    """Whether a length is a share of the training: it is a float."""
    return isinstance(value, float)


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` of a length, or of each one in a list of them."""
    if isinstance(value, (list, tuple)):
        return [change(item) for item in value]
    return change(value)


def in_whole_epochs(cfg: MutableMapping[str, Any]) -> None:
    """Replaces the shares in a training config that are a whole number of epochs.

    ``end=1.0`` of 15 epochs becomes ``end=15``. A training is thus the same one, and has
    the same fingerprint, whether its config says the share or the number. Other shares
    stay as they are.

    Args:
        cfg: A training config with ``train_cfg`` and ``param_scheduler``, which is
            changed; other configs are left alone.

    Raises:
        ConfigError: A share is not between 0 and 1.
    """
    epochs = (cfg.get('train_cfg') or {}).get('max_epochs')
    if not isinstance(epochs, int):
        return
    for schedule in schedules_of(cfg.get('param_scheduler')):
        counts = schedule.get('by_epoch', True)
        for key in LENGTHS:
            if key in schedule:
                checked = replaced(schedule[key], partial(_checked, key))
                if counts and checked is not None:
                    schedule[key] = replaced(checked, partial(_whole, epochs))


def _checked(key: str, value: Any) -> Any:
    if is_share(value) and not 0 <= value <= 1:
        number = f'{value:.0f}' if math.isfinite(value) and value > 1 else '15'
        raise ConfigError(
            f'param_scheduler: {key}={value} is a float, so a share of the training, which '
            f'is between 0 and 1: write {key}={number} for a number of epochs',
            token=key,
        )
    return value


def _whole(epochs: int, value: Any) -> Any:
    if not is_share(value):
        return value
    many = round(value * epochs, 9)
    return int(many) if many == int(many) else value
