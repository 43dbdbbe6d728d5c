"""Distances of two tensors, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import ConfigError, near_names

DISTANCES: dict[str, Callable[..., Tensor]] = {
    'l1': F.l1_loss,
    'l2': F.mse_loss,
    'smooth_l1': F.smooth_l1_loss,
}


def distance_named(name: str) -> Callable[..., Tensor]:
    """A function ``(first, second, reduction='mean')``.

    Args:
        name: A key of :data:`DISTANCES`.

    Raises:
        ConfigError: ``name`` is no key of :data:`DISTANCES`.
    """
    if name not in DISTANCES:
        raise ConfigError(
            f"unknown distance '{name}': {near_names(name, DISTANCES)}", token=name
        )
    return DISTANCES[name]


def check_weight(name: str, value: float) -> None:
    """Refuses weights below 0.

    Raises:
        ConfigError: ``value`` is negative or not a number.
    """
    if not value >= 0:
        raise ConfigError(f'{name} must be 0 (off) or more, not {value}', token=name)
