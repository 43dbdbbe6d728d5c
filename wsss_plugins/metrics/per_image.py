"""Arrays with one row per image, the base of several accumulators."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from wsss_plugins.errors import ConfigError, DataError


class PerImage:
    """Arrays with one row per image that can be extended, merged, stored and resumed.

    A metric adds rows in its ``update`` and reads them in its ``compute``.

    Args:
        shapes: Name of each array to the shape of one row.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.shapes = dict(shapes)
        self._parts: list[dict[str, np.ndarray]] = []

    def __len__(self) -> int:
        """Number of images that were added."""
        return sum(len(next(iter(part.values()))) for part in self._parts)

    def state(self) -> dict[str, np.ndarray]:
        """All rows so far, ``(N, ...)`` each, as plain arrays for an .npz or JSON.

        Raises:
            DataError: No image was added.
        """
        if not len(self):
            raise DataError('no image to evaluate: the id list is empty')
        rows = {
            key: np.concatenate([part[key] for part in self._parts])
            for key in self.shapes
        }
        self._parts = [rows]
        return dict(rows)

    def load(self, state: Mapping[str, ArrayLike]) -> None:
        """Adds the rows of a stored :meth:`state`, as arrays or as lists from JSON.

        Raises:
            DataError: ``state`` was stored by another metric or with other settings.
        """
        rows = {key: np.asarray(value) for key, value in state.items()}
        found = {key: array.shape[1:] for key, array in rows.items()}
        if found != self.shapes or len({len(array) for array in rows.values()}) != 1:
            raise DataError(
                f'a stored state has rows {found}, {type(self).__name__} with these '
                f'settings {self.shapes}: delete it and evaluate again'
            )
        self._parts.append(rows)

    def merge(self, other: PerImage) -> None:
        """Adds the rows of another worker.

        Raises:
            ConfigError: ``other`` is another metric or has other settings.
        """
        if type(self) is not type(other) or self.shapes != other.shapes:
            raise ConfigError(
                'only the same metric with the same settings can be merged, not '
                f'{type(self).__name__} {self.shapes} and {type(other).__name__} '
                f'{other.shapes}'
            )
        self._parts += other._parts


def mean_over_images(rows: np.ndarray) -> np.ndarray:
    """Mean of ``(N, ...)`` over N, rounded once: independent of the images' order."""
    return np.apply_along_axis(math.fsum, 0, rows) / len(rows)
