"""The permutohedral lattice: Gaussian filtering in any number of dimensions.

Source: Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the
Permutohedral Lattice", Eurographics 2010 (splat, blur, slice: section 3).
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from wsss_plugins.errors import DataError
from wsss_plugins.refiners.lattice_filter import LatticeFilter, lattice_filter
from wsss_plugins.refiners.simplices import enclosing_simplices


class PermutohedralLattice:
    """Filters values at ``N`` points with the kernel ``exp(-|f_i - f_j|^2 / 2)``.

    The kernel holds up to a constant factor and to the interpolation error of the
    lattice, and the term ``i = j`` is part of it. Splat, blur and slice are sparse
    matrices that are built once; :meth:`filter` only multiplies by them.

    Only vertices of simplices with a point exist; a missing neighbour is 0 in the blur.

    Args:
        features: ``(N, d)`` float32 or float64, in units of the kernel's standard
            deviation. Every computation is in this dtype and on this device.
        pad_to_multiple: Appends ``-N mod pad_to_multiple`` points with zero features
            when the vertices are made. The values of these points are 0, but their
            vertices around the origin take part in the blur. pydensecrf processes
            blocks of 4 points and therefore adds such points; 1 gives the lattice of
            the paper.
        groups: Point n belongs to group ``n mod groups``; points of different groups,
            say images, are infinitely far apart. Each group has its phantom points.

    Raises:
        DataError: The features are not ``(N, d)`` floats, are not finite, reach 1e6 in
            absolute value, or spread over more lattice cells than 63 bits can number;
            or N is not a multiple of ``groups``.
    """

    def __init__(
        self, features: Tensor, pad_to_multiple: int = 4, groups: int = 1
    ) -> None:
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
        self.num_points, dims = features.shape
        size, rest = divmod(self.num_points, groups)
        if rest:
            raise DataError(
                f'{self.num_points} points are no {groups} groups of one size'
            )
        phantoms = features.new_zeros(dims, -size % pad_to_multiple * groups)
        padded = torch.cat([features.T, phantoms], 1).T
        simplices = enclosing_simplices(padded, groups)
        self.plain = lattice_filter(simplices, self.num_points)

    @property
    def num_vertices(self) -> int:
        """Number of lattice vertices, including those of phantom points."""
        return len(self.plain.blurs[0].offsets)

    def filter(self, values: Tensor) -> Tensor:
        """Multiplies ``values`` ``(N, L)`` by the kernel matrix: ``(N, L)``."""
        return self.plain(values)

    @cached_property
    def mass(self) -> Tensor:
        """``(N, 1)``: the kernel's sum over the points around each point."""
        weights = self.plain.slices.weights
        return self.filter(weights.new_ones(self.num_points, 1))

    def filter_symmetric(self, values: Tensor) -> Tensor:
        """Filters ``values`` ``(N, L)`` by :attr:`symmetric`: ``(N, L)``."""
        return self.symmetric(values)

    @cached_property
    def symmetric(self) -> LatticeFilter:
        """The kernel ``D^-1/2 K D^-1/2``, where ``D = diag(K 1)``.

        Source: the symmetric normalisation of Kraehenbuehl and Koltun 2013,
        "Parameter Learning and Convergent Inference for Dense Random Fields".
        """
        return self.plain.scaled((self.mass[:, 0] + 1e-20).rsqrt())
