"""A seed: the scores of every pixel of one image for each class that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import DataError
from wsss_plugins.structures.files import load_npz, save_npz
from wsss_plugins.structures.small_maps import SmallMaps

OPTIONAL = ('background', 'confidence')
"""Optional arrays of a seed."""

LEVEL = 1
"""Level of deflate of a seed's file, the fastest: higher ones make it hardly smaller."""


@dataclass(frozen=True)
class Seed:
    """Scores of the classes present in one image.

    Attributes:
        scores: ``(K, H, W)`` float32 >= 0; in [0, 1] after :meth:`normalised`.
        classes: ``(K,)`` int64 foreground ids 0..C-1, the image-level labels.
        background: ``(H, W)`` float32, added by a refiner; background is not a class.
        confidence: ``(K,)`` float32 in [0, 1], the classifier's confidence in each
            class, where the classes are predictions rather than labels.
    """

    scores: Tensor
    classes: Tensor
    background: Tensor | None = None
    confidence: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuses tensors whose shapes do not fit.

        Raises:
            DataError: ``scores`` and ``classes`` are not ``(K, H, W)`` and ``(K,)``, or
                the background or the confidence does not have their size.
        """
        if (
            self.scores.ndim != 3
            or self.classes.ndim != 1
            or len(self.scores) != len(self.classes)
        ):
            raise DataError(
                f'a seed needs scores (K, H, W) and classes (K,), not {tuple(self.scores.shape)} '
                f'and {tuple(self.classes.shape)}'
            )
        if (
            self.background is not None
            and self.background.shape != self.scores.shape[1:]
        ):
            raise DataError(
                f'the background of a seed must have its size {tuple(self.scores.shape[1:])}, '
                f'not {tuple(self.background.shape)}'
            )
        if self.confidence is not None and self.confidence.shape != self.classes.shape:
            raise DataError(
                f'a seed needs a confidence for each of {len(self.classes)} classes, not '
                f'{tuple(self.confidence.shape)}'
            )

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)``."""
        return self.scores.shape[1], self.scores.shape[2]

    def to(self, device: torch.device) -> Seed:
        """The same seed on another device."""
        return Seed(
            self.scores.to(device),
            self.classes.to(device),
            None if self.background is None else self.background.to(device),
            None if self.confidence is None else self.confidence.to(device),
        )

    def normalised(self, eps: float = 1e-6) -> Seed:
        """Scales every class to [0, 1]: ``(x - min) / (max - min + eps)`` over the image."""
        low = self.scores.amin((1, 2), keepdim=True)
        high = self.scores.amax((1, 2), keepdim=True)
        scores = self.scores - low
        scores /= high - low + eps
        return replace(self, scores=scores)

    def resized(self, size: tuple[int, int]) -> Seed:
        """Bilinear (half-pixel centres) to ``size`` = ``(H, W)``."""
        if size == self.size:
            return self

        def scale(maps: Tensor) -> Tensor:
            """Maps ``(K, h, w)`` enlarged or shrunk to ``(K, H, W)``, bilinearly."""
            if not len(maps):
                return maps.new_zeros(0, *size)
            return F.interpolate(
                maps[None], size=size, mode='bilinear', align_corners=False
            )[0]

        background = (
            None if self.background is None else scale(self.background[None])[0]
        )
        return replace(self, scores=scale(self.scores), background=background)

    def probabilities(self) -> Tensor:
        """Background and class scores, ``(1 + K, H, W)``, background first.

        Raises:
            DataError: The seed has no background yet.
        """
        if self.background is None:
            raise DataError(
                'this seed has no background score yet: put a background policy first '
                'in the list of refiners'
            )
        return torch.cat([self.background[None], self.scores])

    def to_label(self) -> Tensor:
        """Winning label of each pixel, ``(H, W)`` uint8: 0 background, c + 1 class c.

        Ties go to background first, then to the lower position.
        """
        values = torch.cat([self.classes.new_zeros(1), self.classes + 1]).to(
            torch.uint8
        )
        return values[self.probabilities().argmax(0)]

    def _repr_html_(self) -> str:
        """What a notebook shows: the map of each class and, with a background, the labels."""
        from wsss_plugins.structures.pictures import (  # loads matplotlib
            figures,
            label_picture,
            map_picture,
        )

        shown = []
        for c, scores in zip(self.classes.tolist(), self.scores.cpu(), strict=True):
            low, high = float(scores.min()), float(scores.max())
            picture = map_picture(scores.numpy() / (high or 1))
            shown.append((picture, f'class {c}: {low:.2f} to {high:.2f}'))
        if self.background is not None:
            shown.append((label_picture(self.to_label().cpu().numpy()), 'labels'))
        height, width = self.size
        title = f'seed of {len(self.classes)} classes, {height} × {width} pixels'
        return f'<p>{title}</p>{figures(shown)}'

    def save(self, path: Path | str) -> None:
        """Writes the arrays to ``path`` (.npz), whole or not at all."""
        arrays = dict(
            scores=self.scores.cpu().numpy(), classes=self.classes.cpu().numpy()
        )
        for key in OPTIONAL:
            if getattr(self, key) is not None:
                arrays[key] = getattr(self, key).cpu().numpy()
        save_npz(path, arrays, LEVEL)

    @classmethod
    def load(cls, path: Path | str) -> Seed:
        """Reads what :meth:`save` wrote, or :meth:`SmallSeed.save`, at the photo's size.

        Raises:
            DataError: The file is missing, damaged, holds other arrays or values that
                are not finite; the message names the file.
        """
        arrays = load_npz(path)
        missing = {'scores', 'classes'} - set(arrays)
        if missing:
            raise DataError(f'{path} is no seed: it lacks {", ".join(sorted(missing))}')
        keys = [key for key in ('scores', *OPTIONAL) if key in arrays]
        wrong = [key for key in (*keys, 'classes') if not _is_numeric(arrays, key)]
        if wrong:
            raise DataError(
                f'{path} has {wrong[0]} of type {arrays[wrong[0]].dtype}: scores are '
                'numbers, and classes are whole numbers; make the seeds again'
            )
        try:
            if 'steps' in arrays:
                arrays['scores'] = _clipped(SmallMaps.of_arrays(arrays)).numpy()
            floats = {
                k: torch.from_numpy(arrays[k].astype(np.float32, copy=False))
                for k in keys
            }
            classes = torch.from_numpy(arrays['classes'].astype(np.int64))
            seed = cls(classes=classes, **floats)
        except (DataError, ValueError, RuntimeError) as error:
            raise DataError(f'{path}: {error}') from error
        if not all(each.isfinite().all() for each in floats.values()):
            raise DataError(
                f'{path} holds scores that are not finite: make the seeds again'
            )
        return seed


@dataclass(frozen=True)
class SmallSeed:
    """A seed whose maps are as small as a network made them; :meth:`Seed.load` reads it.

    Attributes:
        maps: The maps of the K classes, scaled so that they are in [0, 1] when enlarged.
        classes: ``(K,)`` int64 foreground ids, as in a :class:`Seed`.
        confidence: ``(K,)`` float32, as in a :class:`Seed`.
    """

    maps: SmallMaps
    classes: Tensor
    confidence: Tensor | None = None

    def enlarged(self) -> Seed:
        """The seed at the size of the photo, as it is read from a file."""
        return Seed(_clipped(self.maps), self.classes, confidence=self.confidence)

    def save(self, path: Path | str) -> None:
        """Writes the arrays to ``path`` (.npz), whole or not at all."""
        arrays = self.maps.arrays() | dict(classes=self.classes.cpu().numpy())
        if self.confidence is not None:
            arrays['confidence'] = self.confidence.cpu().numpy()
        save_npz(path, arrays, LEVEL)


def _clipped(maps: SmallMaps) -> Tensor:
    """Enlarged maps ``(K, H, W)``; rounding may lead a little out of [0, 1]."""
    return maps.enlarged().clamp(0, 1)


def _is_numeric(arrays: Mapping[str, np.ndarray], key: str) -> bool:
    """Whether an array of a seed holds numbers, and the classes whole ones."""
    values = arrays[key]
    if key == 'classes':
        kind = values.dtype.kind
        return kind in 'iu' or (kind == 'f' and not (values % 1).any())
    return values.dtype.kind in 'biuf'
