"""Maps the patches and the attention of a transformed view back to the image.

Source: Sun et al., All-pairs Consistency Learning for Weakly Supervised Semantic
Segmentation (ACR), 2023, eqs. 3 to 5 and appendix B.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import ConfigError

Grid = tuple[int, int]

SYMMETRIES: dict[str, Callable[[Tensor], Tensor]] = {
    'hflip': lambda x: x.flip(-1),
    'vflip': lambda x: x.flip(-2),
    'hvflip': lambda x: x.flip((-2, -1)),
    'rot90': lambda x: torch.rot90(x, 1, (-2, -1)),
    'rot180': lambda x: torch.rot90(x, 2, (-2, -1)),
    'rot270': lambda x: torch.rot90(x, 3, (-2, -1)),
}
"""Transforms of the last two axes that permute patches; rotations counter-clockwise."""


def view_permutation(symmetry: str, grid: Grid) -> Tensor:
    """The index, in the image, of the patch at each position of the view.

    Args:
        symmetry: A key of :data:`SYMMETRIES`.
        grid: ``(h, w)`` of the image before the transform.

    Returns:
        ``(h * w,)`` int64: entry k is the row-major index, in the image, of the patch
        at row-major position k of the view.
    """
    return SYMMETRIES[symmetry](torch.arange(grid[0] * grid[1]).reshape(grid)).flatten()


def restore_order(attn: Tensor, permutation: Tensor) -> Tensor:
    """Re-orders the patches in the attention of a view to the order of the image.

    An index permutation of rows and columns; equal to the Kronecker form of ACR eq. 5.

    Args:
        attn: ``(..., P + n, P + n)`` attention of the view, prefix tokens first.
        permutation: ``(n,)``, of :func:`view_permutation`.

    Returns:
        The same shape, in the order of the image.
    """
    prefix = attn.shape[-1] - len(permutation)
    back = permutation.argsort() + prefix
    order = torch.cat([torch.arange(prefix, device=back.device), back])
    return attn.index_select(-2, order).index_select(-1, order)


class Placement(ABC):
    """Maps quantities of a view's patches to the patches of its image."""

    @abstractmethod
    def attention(self, attn: Tensor) -> Tensor:
        """Maps attention of the view to attention between the patches of the image.

        Args:
            attn: ``(..., P + n', P + n')`` of the view's n' patches, prefix tokens first.

        Returns:
            ``(..., P + n, P + n)`` of the image's n patches.
        """

    @abstractmethod
    def maps(self, maps: Tensor) -> Tensor:
        """Maps ``(..., h', w')`` of the view, moved to the image's ``(..., h, w)``."""

    @abstractmethod
    def follow(self, keep: Tensor) -> Tensor:
        """Indices, in the view, of the patches ``keep`` ``(N, n)`` of the image.

        Raises:
            ConfigError: The view has other patches than the image, as a resized view.
        """


@dataclass(frozen=True)
class Reordering(Placement):
    """The view shows the patches of the image, in another order.

    Attributes:
        order: ``(n,)`` int64: entry k is the row-major index, in the image, of the patch
            at row-major position k of the view.
        grid: ``(h, w)`` of the image.
    """

    order: Tensor
    grid: Grid

    def attention(self, attn: Tensor) -> Tensor:
        """See :meth:`Placement.attention`; equal to the Kronecker form of ACR eq. 5."""
        return restore_order(attn, self.order.to(attn.device))

    def maps(self, maps: Tensor) -> Tensor:
        """See :meth:`Placement.maps`."""
        back = self.order.argsort().to(maps.device)
        return maps.flatten(-2).index_select(-1, back).unflatten(-1, self.grid)

    def follow(self, keep: Tensor) -> Tensor:
        """See :meth:`Placement.follow`."""
        return self.order.argsort().to(keep.device)[keep]


@dataclass(frozen=True)
class Resampling(Placement):
    """The view shows the image on another grid.

    The rows of attention are interpolated over the grid of the queries. Within each row
    the entries of the patches are interpolated over the grid of the keys and rescaled,
    so that their sum stays the same and a distribution stays a distribution.
    Interpolation is bilinear, with antialiasing when the grid shrinks.

    Attributes:
        view: ``(h', w')`` of the view.
        grid: ``(h, w)`` of the image.
    """

    view: Grid
    grid: Grid

    def attention(self, attn: Tensor) -> Tensor:
        """See :meth:`Placement.attention`; the sum of each row is kept."""
        prefix = attn.shape[-1] - self.view[0] * self.view[1]
        given, shares = attn.tensor_split((prefix,), -1)
        moved = self._move(shares)
        smallest = torch.finfo(moved.dtype).tiny
        mass = moved.sum(-1, keepdim=True).clamp(min=smallest)
        moved = moved * (shares.sum(-1, keepdim=True) / mass)
        attn = torch.cat([given, moved], -1)
        first, rows = attn.tensor_split((prefix,), -2)
        rows = self._move(rows.transpose(-2, -1)).transpose(-2, -1)
        return torch.cat([first, rows], -2)

    def maps(self, maps: Tensor) -> Tensor:
        """See :meth:`Placement.maps`."""
        return self._move(maps.flatten(-2)).unflatten(-1, self.grid)

    def follow(self, keep: Tensor) -> Tensor:
        """Refuses: no patch of the view covers the same part of the scene."""
        raise ConfigError(
            'a view that is resized has other patches than its image, so that none can be '
            'dropped from both: set drop_patches=0, or leave the resizing out',
            token='drop_patches',
        )

    def _move(self, values: Tensor) -> Tensor:
        """Interpolates ``(..., n')`` of the view to ``(..., n)`` of the image."""
        down = _weights(self.view[0], self.grid[0]).to(values)
        across = _weights(self.view[1], self.grid[1]).to(values)
        return (down @ values.unflatten(-1, self.view) @ across.T).flatten(-2)


def _weights(source: int, target: int) -> Tensor:
    """Bilinear weights of ``source`` places at ``target`` places, ``(target, source)``.

    As a matrix, its gradient is deterministic on every device.
    """
    eye = torch.eye(source, dtype=torch.float64)[None, None]
    size = (target, source)
    return F.interpolate(eye, size, mode='bilinear', antialias=True)[0, 0]


@dataclass(frozen=True)
class Moves(Placement):
    """A chain of placements; an empty chain leaves the patches in place."""

    steps: Sequence[Placement] = ()

    def attention(self, attn: Tensor) -> Tensor:
        """See :meth:`Placement.attention`."""
        for step in reversed(self.steps):
            attn = step.attention(attn)
        return attn

    def maps(self, maps: Tensor) -> Tensor:
        """See :meth:`Placement.maps`."""
        for step in reversed(self.steps):
            maps = step.maps(maps)
        return maps

    def follow(self, keep: Tensor) -> Tensor:
        """See :meth:`Placement.follow`."""
        for step in self.steps:
            keep = step.follow(keep)
        return keep
