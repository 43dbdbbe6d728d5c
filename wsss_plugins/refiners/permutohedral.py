"""The permutohedral lattice: Gaussian filtering in any number of dimensions.

Source: Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the
Permutohedral Lattice", Eurographics 2010 (splat, blur, slice: section 3).
"""

from __future__ import annotations

import math
import operator
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import DataError


class PermutohedralLattice:
    """Filters values at ``N`` points with the kernel ``exp(-|f_i - f_j|^2 / 2)``.

    The kernel holds up to a constant factor and to the interpolation error of the
    lattice, and the term ``i = j`` is part of it. Splat, blur and slice are sparse
    matrices that are built once; :meth:`filter` only multiplies by them.

    Only vertices that a point touches exist: a missing neighbour counts 0 in the blur.

    Args:
        features: ``(N, d)`` float32 or float64, in units of the kernel's standard
            deviation. Every computation is in this dtype and on this device.
        pad_to_multiple: Appends ``-N mod pad_to_multiple`` points with zero features
            when the vertices are made. These phantom points hold no mass, yet their
            vertices around the origin pass mass on in the blur. pydensecrf works in
            blocks of 4 points and so has them; 1 gives the lattice of the paper.

    Raises:
        DataError: The features are not ``(N, d)`` floats, or not finite, or 1e6 and
            more in size, or spread over more lattice cells than 63 bits can number.
    """

    def __init__(self, features: Tensor, pad_to_multiple: int = 4) -> None:
        if features.ndim != 2 or not features.is_floating_point() or not len(features):
            raise DataError(
                'features of a lattice must be (N, d) floats, N >= 1, not '
                f'{tuple(features.shape)} {features.dtype}'
            )
        if not (features.abs() < 1e6).all():
            raise DataError(
                'features of a lattice must be finite and below 1e6 in size: '
                'use larger kernel widths'
            )
        self.num_points = len(features)
        phantoms = features.new_zeros(
            -len(features) % pad_to_multiple, features.shape[1]
        )
        embedded = _embed(torch.cat([features, phantoms]).T.contiguous())
        embedded.weights[:, self.num_points :] = 0
        keys, steps = _pack(embedded)
        self._splat, self._slice, vertices = _connect(
            keys, embedded.weights, self.num_points
        )
        self._blurs = _neighbours(vertices, steps, features.dtype)

    @property
    def num_vertices(self) -> int:
        """How many lattice vertices exist, those of phantom points counted."""
        return len(self._blurs[0].columns)

    def filter(self, values: Tensor) -> Tensor:
        """Multiplies ``values`` ``(N, L)`` by the kernel matrix: ``(N, L)``."""
        values = self._splat(values.contiguous())
        for blur in self._blurs:
            values = blur(values)
        return self._slice(values)

    @cached_property
    def mass(self) -> Tensor:
        """``(N, 1)``: the kernel's sum over the points around each point."""
        weights = self._slice.weights
        return self.filter(weights.new_ones(self.num_points, 1))

    @cached_property
    def _root(self) -> Tensor:
        """``(N, 1)``: one over the square root of the mass."""
        return (self.mass + 1e-20).rsqrt()

    def filter_symmetric(self, values: Tensor) -> Tensor:
        """Filters with the kernel ``D^-1/2 K D^-1/2``, where ``D = diag(K 1)``.

        Source: the symmetric normalisation of Kraehenbuehl and Koltun 2013,
        "Parameter Learning and Convergent Inference for Dense Random Fields".

        Args:
            values: ``(N, L)``.

        Returns:
            ``(N, L)``.
        """
        return self.filter(values * self._root).mul_(self._root)


class _WeightedSum(NamedTuple):
    """A sparse matrix: row ``i`` of the product is ``sum_k weights_ik values[columns_ik]``.

    Rows are ``(R, k)``, or flat with the start of every row in ``offsets``.
    """

    columns: Tensor
    weights: Tensor
    offsets: Tensor | None = None

    def __call__(self, values: Tensor) -> Tensor:
        return F.embedding_bag(
            self.columns,
            values,
            self.offsets,
            mode='sum',
            per_sample_weights=self.weights,
        )


class _Embedded(NamedTuple):
    """Points on the lattice's hyperplane, ``D = d + 1``, coordinates first.

    Attributes:
        base: ``(D, N)`` int32: the remainder-0 vertex of the simplex, divided by D.
        rank: ``(D, N)`` int32: descending order of the offsets from that vertex.
        weights: ``(D, N)``: barycentric weight of the vertex with remainder r.
    """

    base: Tensor
    rank: Tensor
    weights: Tensor


def _embed(features: Tensor) -> _Embedded:
    """Finds the enclosing simplex of every point (Adams et al., section 3.1)."""
    elevated = _elevate(features)
    dims = len(elevated)
    base = torch.round(elevated / dims)
    rank = _descending_rank(elevated - base * dims)
    base = base.to(torch.int32)
    rank += base.sum(0, dtype=torch.int32)
    wrap = (rank < 0).int() - (rank >= dims).int()
    rank += wrap * dims
    base += wrap
    return _Embedded(base, rank, _barycentric(elevated / dims - base, rank))


def _descending_rank(rows: Tensor) -> Tensor:
    """Position of each row in descending order, int32; on ties the lower row first."""
    rank = torch.zeros_like(rows, dtype=torch.int32)
    for i in range(1, len(rows)):
        for j in range(i):
            below = rows[j] < rows[i]
            rank[j] += below
            rank[i] += ~below
    return rank


def _elevate(features: Tensor) -> Tensor:
    """Rotates ``(d, N)`` onto the hyperplane of ``D`` coordinates with sum 0.

    The scale ``sqrt(2/3) D`` makes one blur along each axis a unit Gaussian.
    """
    dims = len(features) + 1
    rows, total = [], torch.zeros_like(features[0])
    for j in range(dims - 1, 0, -1):
        scaled = features[j - 1] * (math.sqrt(2 / 3) * dims / math.sqrt(j * (j + 1)))
        rows.append(total - j * scaled)
        total = total + scaled
    return torch.stack([total, *reversed(rows)])


def _barycentric(offset: Tensor, rank: Tensor) -> Tensor:
    """Weights ``(D, N)`` of the simplex corners (Adams et al., proposition 4.2)."""
    dims = len(offset)
    rank = rank.long()
    weights = offset.new_zeros(dims + 1, offset.shape[1])
    weights.scatter_add_(0, dims - 1 - rank, offset)
    weights.scatter_add_(0, dims - rank, -offset)
    weights[0] += 1 + weights[dims]
    return weights[:dims].contiguous()


def _pack(embedded: _Embedded) -> tuple[Tensor, list[int]]:
    """Numbers the corners of all simplices by one integer each.

    The coordinates of a vertex are congruent modulo ``D``, so the first one and the
    differences to it divided by ``D`` say it all. Packing them by mixed radix is a
    linear map, hence a step along an axis adds a constant to the number.

    Returns:
        Keys ``(D, N)``, row r the vertex with remainder r, and the step of each axis.
    """
    base, rank = embedded.base.long(), embedded.rank
    dims = len(base)
    low, radix, total = [], [], 1
    for i in range(dims - 1):
        part = base[i] - base[0] if i else base[0] * dims
        # Room for the corners of the simplex and for one step beyond them.
        margin = 2 if i else 2 * dims
        low.append(int(part.min()) - margin)
        radix.append(total)
        total *= int(part.max()) + margin - low[-1] + 1
    if total >= 2**63:
        raise DataError(
            f'{dims - 1} features spread over {total:.0e} lattice cells, more than 9e+18: '
            'use fewer features or larger kernel widths'
        )
    inner = [dims * radix[0] - sum(radix[1:]), *radix[1:]]
    factors = base.new_tensor(inner)[:, None]
    start = (base[:-1] * factors).sum(0) - sum(map(operator.mul, low, radix))
    keys = torch.stack(
        [
            start + r * radix[0] - ((rank[:-1] >= dims - r) * factors).sum(0)
            for r in range(dims)
        ]
    )
    # An axis step adds -1 to every coordinate and D more to its own; the last axis
    # has no stored coordinate.
    steps = [place - radix[0] for place in [*inner, 0]]
    return keys.int() if total < 2**31 else keys, steps


def _connect(
    keys: Tensor, weights: Tensor, num_points: int
) -> tuple[_WeightedSum, _WeightedSum, Tensor]:
    """Makes the splat and slice matrices, and the sorted keys of the vertices."""
    dims, padded = keys.shape
    ordered, order = keys.view(-1).sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=first[1:])
    offsets = first.nonzero().view(-1)
    points = (order % padded).clamp_(max=num_points - 1)
    splat = _WeightedSum(points.int(), weights.view(-1)[order], offsets.int())
    corners = torch.empty_like(order, dtype=torch.int32)
    corners[order] = first.cumsum(0, dtype=torch.int32) - 1
    corners = corners.view(dims, padded)[:, :num_points].T.contiguous()
    gain = 1 / (1 + 2 ** (1 - dims))
    scaled = (weights[:, :num_points] * gain).T.contiguous()
    return splat, _WeightedSum(corners, scaled), ordered[offsets]


def _neighbours(
    vertices: Tensor, steps: list[int], dtype: torch.dtype
) -> list[_WeightedSum]:
    """The blur matrices, one per axis: weights 1/2, 1, 1/2 (not normalised to 1)."""
    here = torch.arange(len(vertices), device=vertices.device)
    blurs = []
    for step in steps:
        columns, weights = [here], [torch.ones_like(vertices, dtype=dtype)]
        for wanted in (vertices + step, vertices - step):
            found = torch.searchsorted(vertices, wanted).clamp_(max=len(vertices) - 1)
            columns.append(found)
            weights.append((vertices[found] == wanted).to(dtype) / 2)
        blurs.append(
            _WeightedSum(torch.stack(columns, 1).int(), torch.stack(weights, 1))
        )
    return blurs
