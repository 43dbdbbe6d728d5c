"""Maps at the size at which a network made them, with the steps that enlarge them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import DataError

MOST = 178_956_970
"""The most pixels of a photo that maps are enlarged to: what Pillow opens at most."""


class Step(NamedTuple):
    """One bilinear enlargement.

    Attributes:
        height: H of the result.
        width: W of the result.
        aligned: Whether the centres of the corner cells become those of the corner pixels
            (``align_corners``); otherwise the borders of the map become those of the photo.
    """

    height: int
    width: int
    aligned: bool = False

    def __call__(self, maps: Tensor) -> Tensor:
        """Enlarges or shrinks maps ``(K, h, w)`` to ``(K, H, W)``."""
        size = (self.height, self.width)
        if not len(maps):
            return maps.new_zeros(0, *size)
        return F.interpolate(
            maps[None], size=size, mode='bilinear', align_corners=self.aligned
        )[0]


@dataclass(frozen=True)
class SmallMaps:
    """Maps of K classes that a network made at one or several scales of a photo.

    The maps of the photo are the sum of the maps of all scales, each enlarged by the first
    step; further steps enlarge the sum. This is what averaging at the size of the photo
    computes, so nothing is lost.

    Attributes:
        scales: ``(K, h, w)`` for each scale.
        steps: The steps, in order. Without any, the only map has the size of the photo.
    """

    scales: tuple[Tensor, ...]
    steps: tuple[Step, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the photo."""
        if self.steps:
            return self.steps[-1].height, self.steps[-1].width
        return self.scales[0].shape[1], self.scales[0].shape[2]

    def enlarged(self) -> Tensor:
        """The maps of the photo, ``(K, H, W)``, in single precision."""
        total, *others = (self._by_first_step(maps.float()) for maps in self.scales)
        for maps in others:
            total += maps
        for step in self.steps[1:]:
            total = step(total)
        return total

    def _by_first_step(self, maps: Tensor) -> Tensor:
        return self.steps[0](maps) if self.steps else maps

    def normalised(self, eps: float = 1e-6) -> SmallMaps:
        """Scales every class so that its enlarged map is in [0, 1], as a seed's is.

        The enlarged map becomes ``(x - min) / (max - min + eps)``.
        """
        whole = self.enlarged()
        low, high = whole.amin((1, 2), True), whole.amax((1, 2), True)
        first, *others = self.scales
        spread = high - low + eps
        scales = [(first - low).div_(spread), *(maps / spread for maps in others)]
        return replace(self, scales=tuple(scales))

    def resized(self, size: tuple[int, int]) -> SmallMaps:
        """The same maps with a step to ``size`` = ``(H, W)``, if that is not their size."""
        if size == self.size:
            return self
        return replace(self, steps=(*self.steps, Step(*size)))

    def half(self) -> SmallMaps:
        """The same maps in half precision."""
        return replace(self, scales=tuple(maps.half() for maps in self.scales))

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a file: ``scores``, ``scores_1`` ..., and ``steps`` ``(S, 3)``.

        A step is a row of its height, its width, and 1 where corners are aligned.
        """
        found = {_key(i): maps.cpu().numpy() for i, maps in enumerate(self.scales)}
        if self.steps:
            found['steps'] = np.array(self.steps, np.int64)
        return found

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> SmallMaps:
        """The maps in a file that has ``steps``, in single precision.

        Raises:
            DataError: Maps are not ``(K, h, w)`` of the same K, or the steps are no
                ``(S, 3)`` whole numbers, or lead to a size out of range.
        """
        rows = arrays['steps']
        if (
            rows.ndim != 2
            or rows.shape[1] != 3
            or rows.dtype.kind not in 'iu'
            or not len(rows)
        ):
            raise DataError(
                f'its steps are {rows.shape} of {rows.dtype}: needed are whole numbers '
                '(S, 3), S >= 1, with the height, the width and 0 or 1 of each step'
            )
        steps = tuple(Step(h, w, bool(aligned)) for h, w, aligned in rows.tolist())
        for height, width, _ in steps:
            if min(height, width) < 1 or height * width > MOST:
                raise DataError(
                    f'a step of it leads to {height}x{width} pixels: allowed are sides of '
                    f'at least 1 and at most {MOST} pixels in all'
                )
        keys = ['scores']
        while _key(len(keys)) in arrays:
            keys.append(_key(len(keys)))
        shapes = [arrays[key].shape for key in keys]
        if any(len(s) != 3 or s[0] != shapes[0][0] for s in shapes):
            raise DataError(
                f'a seed needs scores (K, H, W), of the same K at every scale, not {shapes}'
            )
        scales = (torch.from_numpy(arrays[key].astype(np.float32)) for key in keys)
        return cls(tuple(scales), steps)


def _key(scale: int) -> str:
    """Name of the array with the maps of a scale."""
    return f'scores_{scale}' if scale else 'scores'
