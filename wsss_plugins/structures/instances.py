"""The objects of one image: a mask, a class and a score for each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsss_plugins.errors import DataError
from wsss_plugins.structures.files import load_npz, save_npz

ARRAYS = ('masks', 'classes', 'scores', 'size')
"""Arrays of the file of one image."""


@dataclass(frozen=True)
class Instances:
    """Objects found in one image.

    Attributes:
        masks: ``(n, H, W)`` bool.
        classes: ``(n,)`` int64 foreground ids 0..C-1.
        scores: ``(n,)`` float32, how sure each object is, on any scale.
    """

    masks: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        """Refuses arrays whose shapes do not fit.

        Raises:
            DataError: ``masks`` is not ``(n, H, W)``, or there is not a class and a finite
                score for each mask.
        """
        count = len(self.masks)
        fits = self.masks.ndim == 3 and self.classes.shape == (count,)
        if not fits or self.scores.shape != (count,):
            raise DataError(
                'instances need masks (n, H, W), classes (n,) and scores (n,), not '
                f'{self.masks.shape}, {self.classes.shape} and {self.scores.shape}'
            )
        if not np.isfinite(self.scores).all():
            raise DataError('scores of instances must be finite: make them again')

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)``."""
        return self.masks.shape[1], self.masks.shape[2]

    def save(self, path: Path | str) -> None:
        """Writes the arrays to ``path`` (.npz), a bit for each pixel of a mask."""
        arrays: dict[str, np.ndarray] = dict(
            masks=np.packbits(
                self.masks.reshape(len(self.masks), math.prod(self.size)), axis=1
            ),
            classes=self.classes.astype(np.int64),
            scores=self.scores.astype(np.float32),
            size=np.array(self.size, np.int64),
        )
        save_npz(path, arrays)

    @classmethod
    def load(cls, path: Path | str) -> Instances:
        """Reads what :meth:`save` wrote.

        Raises:
            DataError: The file is missing, damaged or holds other arrays; the message
                names the file.
        """
        arrays = load_npz(path)
        missing = set(ARRAYS) - set(arrays)
        if missing:
            raise DataError(
                f'{path} holds no instances: it lacks {", ".join(sorted(missing))}'
            )
        try:
            height, width = (int(side) for side in arrays['size'])
            if arrays['masks'].shape[1] != -(-height * width // 8):
                raise DataError(f'masks of another size than {height} x {width}')
            bits = np.unpackbits(arrays['masks'], axis=1, count=height * width)
            masks = bits.reshape(len(bits), height, width).astype(bool)
            return cls(
                masks,
                arrays['classes'].astype(np.int64),
                arrays['scores'].astype(np.float32),
            )
        except (DataError, IndexError, TypeError, ValueError) as error:
            raise DataError(f'{path} holds no instances: {error}') from error
