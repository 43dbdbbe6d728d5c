"""Splat, blur and slice: the sparse matrices of a permutohedral lattice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.refiners.simplices import Simplices

# On a GPU long sums are split in two steps, so that no thread sums a flat region alone.
_LONGEST_SUM = 64


class WeightedSum(NamedTuple):
    """A sparse matrix: row i of the product is ``sum_k weights_k values[columns_k]``.

    Attributes:
        columns: int32 column indices of the first row, then of the second, and so on.
        weights: One weight for each entry of ``columns``.
        offsets: ``(R,)`` int32: where every row starts.
    """

    columns: Tensor
    weights: Tensor
    offsets: Tensor

    @classmethod
    def of_rows(cls, columns: Tensor, weights: Tensor) -> WeightedSum:
        """A matrix with the same number k of entries in each row, from ``(R, k)``."""
        rows, entries = columns.shape
        offsets = torch.arange(
            0, rows * entries, entries, dtype=torch.int32, device=columns.device
        )
        return cls(columns.reshape(-1), weights.reshape(-1), offsets)

    def __call__(self, values: Tensor) -> Tensor:
        """Multiplies values ``(N, L)``, contiguous: ``(R, L)``."""
        return F.embedding_bag(
            self.columns,
            values,
            self.offsets,
            mode='sum',
            per_sample_weights=self.weights,
        )


class LatticeFilter(NamedTuple):
    """A kernel matrix as the product of sparse ones.

    Attributes:
        splat: Sums points to vertices, or to parts of them.
        join: Sums the parts of every vertex, if there are any.
        blurs: Mixes neighbours, one matrix per axis.
        slices: Interpolates the corners of its simplex at every point.
        num_points: N.
    """

    splat: WeightedSum
    join: WeightedSum | None
    blurs: list[WeightedSum]
    slices: WeightedSum
    num_points: int

    def __call__(self, values: Tensor) -> Tensor:
        """Filters ``(N, L)``."""
        return self.slices(self.to_vertices(values))

    def to_vertices(self, values: Tensor) -> Tensor:
        """The blurred vertices ``(M, L)`` of values ``(N, L)``."""
        vertices = self.splat(values.contiguous())
        if self.join is not None:
            vertices = self.join(vertices)
        for blur in self.blurs:
            vertices = blur(vertices)
        return vertices

    def to_points(self, vertices: Tensor, start: int, stop: int) -> Tensor:
        """Values ``(stop - start, L)`` of some points from vertices ``(M, L)``."""
        columns, weights, offsets = self.slices
        corners = len(columns) // self.num_points
        some = slice(start * corners, stop * corners)
        rows = WeightedSum(columns[some], weights[some], offsets[: stop - start])
        return rows(vertices)

    def scaled(self, factor: Tensor) -> LatticeFilter:
        """The kernel between factors ``(N,)``: ``diag(f) K diag(f)``."""
        splat, slices = self.splat, self.slices
        gathered = factor.index_select(0, splat.columns)
        outer = (slices.weights.view(self.num_points, -1) * factor[:, None]).view(-1)
        return self._replace(
            splat=splat._replace(weights=splat.weights * gathered),
            slices=slices._replace(weights=outer),
        )


def lattice_filter(simplices: Simplices, num_points: int) -> LatticeFilter:
    """Makes the matrices of the first ``num_points`` points; the others hold no mass."""
    keys, weights, steps, num_keys = simplices
    dims, padded = keys.shape
    ordered, order = _sort(keys, num_keys)
    first = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=first[1:])
    corners = torch.empty_like(order, dtype=torch.int32)
    corners.scatter_(0, order, first.cumsum(0, dtype=torch.int32).sub_(1))
    corners = corners.view(dims, padded)[:, :num_points]

    heads = first.nonzero().view(-1)
    weights[:, num_points:] = 0
    mass = weights.view(-1).index_select(0, order)
    points = order.remainder_(padded).clamp_(max=num_points - 1)
    splat = WeightedSum(points.int(), mass, heads.int())
    join = None
    if splat.columns.device.type != 'cpu':
        splat, join = in_parts(splat)

    gain = 1 / (1 + 2 ** (1 - dims))
    slices = WeightedSum.of_rows(
        _transposed(corners), _transposed(weights[:, :num_points]).mul_(gain)
    )
    blurs = _neighbours(ordered[heads], steps, weights.dtype)
    return LatticeFilter(splat, join, blurs, slices, num_points)


def in_parts(splat: WeightedSum) -> tuple[WeightedSum, WeightedSum]:
    """The matrix with long sums split into parts, and the matrix that adds them."""
    heads = splat.offsets.long()
    lengths = heads.diff(append=heads.new_tensor([len(splat.columns)]))
    parts = (lengths + _LONGEST_SUM - 1) // _LONGEST_SUM
    offsets = parts.cumsum(0) - parts
    here = torch.arange(int(parts.sum()), device=heads.device)
    starts = here * _LONGEST_SUM
    starts += (heads - offsets * _LONGEST_SUM).repeat_interleave(parts)
    ones = splat.weights.new_ones(len(here))
    join = WeightedSum(here.int(), ones, offsets.int())
    return splat._replace(offsets=starts.int()), join


def _sort(keys: Tensor, num_keys: int) -> tuple[Tensor, Tensor]:
    """Keys ``(D, N)`` in ascending order, and where they were; both flat."""
    bits = (keys.numel() - 1).bit_length()
    if keys.device.type != 'cpu' or num_keys << bits >= 2**63:
        return keys.view(-1).sort(stable=True)
    # NumPy sorts 64-bit numbers several times faster than torch sorts with an index.
    padded = keys.shape[1]
    packed = keys.long()
    packed.bitwise_left_shift_(bits).add_(torch.arange(padded))
    packed.add_(torch.arange(0, packed.numel(), padded)[:, None])
    packed = packed.view(-1)
    packed.numpy().sort()
    order = packed & ((1 << bits) - 1)
    return packed.bitwise_right_shift_(bits), order


def _search(ordered: Tensor, wanted: Tensor) -> Tensor:
    """Where ``wanted``, ascending too, would be inserted into ``ordered``."""
    if ordered.device.type != 'cpu':
        return torch.searchsorted(ordered, wanted)
    # NumPy begins each search where the last one ended.
    return torch.from_numpy(np.searchsorted(ordered.numpy(), wanted.numpy()))


def _transposed(rows: Tensor) -> Tensor:
    """``rows.T``, contiguous; row by row it is faster than torch's copy."""
    columns = rows.new_empty(rows.shape[::-1])
    for i, row in enumerate(rows):
        columns[:, i] = row
    return columns


def _neighbours(
    vertices: Tensor, steps: list[int], dtype: torch.dtype
) -> list[WeightedSum]:
    """The blur matrices, one per axis: weights 1/2, 1, 1/2 (not normalised to 1)."""
    count = len(vertices)
    here = torch.arange(count, device=vertices.device)
    blurs = []
    for step in steps:
        wanted = vertices + step
        ahead = _search(vertices, wanted).clamp_(max=count - 1)
        half = (vertices[ahead] == wanted).to(dtype) / 2
        # Points without a next neighbour are written to a row that is cut off.
        target = torch.where(half > 0, ahead, count)
        behind = torch.zeros(count + 1, dtype=torch.int64, device=here.device)
        behind_half = half.new_zeros(count + 1)
        behind.scatter_(0, target, here)
        behind_half.scatter_(0, target, half)
        columns = torch.stack([here, ahead, behind[:count]]).int()
        weights = torch.stack([torch.ones_like(half), half, behind_half[:count]])
        blurs.append(WeightedSum.of_rows(_transposed(columns), _transposed(weights)))
    return blurs
