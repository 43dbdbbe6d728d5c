"""The lattice against a slow definition and the dense Gaussian."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
import torch
from torch import Tensor

from wsss_plugins.errors import DataError
from wsss_plugins.refiners import PermutohedralLattice
from wsss_plugins.refiners.lattice_filter import in_parts


def slow_filter(features: Tensor, values: Tensor, reverse: bool = False) -> Tensor:
    """Adams et al. point by point, vertices in a dictionary; no phantom points."""
    d = features.shape[1]
    corners = [simplex(point.tolist()) for point in features]
    lattice: dict[tuple, Tensor] = defaultdict(lambda: torch.zeros_like(values[0]))
    for i, weighted in enumerate(corners):
        for key, weight in weighted:
            lattice[key] = lattice[key] + weight * values[i]
    axes = [
        tuple(d if a == axis else -1 for a in range(d + 1)) for axis in range(d + 1)
    ]
    for axis in reversed(axes) if reverse else axes:
        blurred = {}
        for key, value in lattice.items():
            ahead = tuple(k + s for k, s in zip(key, axis, strict=True))
            behind = tuple(k - s for k, s in zip(key, axis, strict=True))
            sides = lattice.get(ahead, 0 * value) + lattice.get(behind, 0 * value)
            blurred[key] = value + sides / 2
        lattice = blurred
    gain = 1 / (1 + 2.0**-d)
    return torch.stack([gain * sum(w * lattice[key] for key, w in c) for c in corners])


def simplex(point: list[float]) -> list[tuple[tuple, float]]:
    """Vertices of the simplex around a point, and its barycentric weights."""
    d = len(point)
    position = torch.zeros(d + 1, dtype=torch.float64)
    for j, value in enumerate(point, start=1):  # column j of the rotation E
        column = torch.tensor([1.0] * j + [-j] + [0.0] * (d - j), dtype=torch.float64)
        position += value * column * math.sqrt(2 / 3) * (d + 1) / math.sqrt(j * (j + 1))
    zero = torch.round(position / (d + 1)) * (d + 1)
    excess = int(zero.sum()) // (d + 1)
    order = (position - zero).argsort(descending=True).tolist()
    for index in order[d + 1 - excess :] if excess > 0 else order[: max(-excess, 0)]:
        zero[index] -= math.copysign(d + 1, excess)
    offset = (position - zero) / (d + 1)
    order = offset.argsort(descending=True).tolist()
    sorted_offset = offset[order].tolist()
    result = []
    for r in range(d + 1):
        key = zero.clone() + r
        key[order[d + 1 - r :]] -= d + 1
        # b_r = y_(d - r) - y_(d + 1 - r), and b_0 closes the sum to 1.
        weight = (
            sorted_offset[d - r] - sorted_offset[d + 1 - r]
            if r
            else 1 + sorted_offset[d] - sorted_offset[0]
        )
        result.append((tuple(int(k) for k in key), weight))
    return result


@pytest.mark.parametrize('dims', [1, 2, 3, 5, 7])
def test_equals_the_slow_definition(dims: int) -> None:
    features = 1.5 * torch.randn(60, dims, dtype=torch.float64)
    values = torch.rand(60, 3, dtype=torch.float64)
    fast = PermutohedralLattice(features, pad_to_multiple=1).filter(values)
    assert torch.allclose(fast, slow_filter(features, values), rtol=0, atol=1e-12)


@pytest.mark.parametrize('dims', [1, 2, 3, 5])
def test_adjoint_blurs_the_axes_backwards(dims: int) -> None:
    features = torch.randn(50, dims, dtype=torch.float64)
    a, b = torch.rand(2, 50, 1, dtype=torch.float64)
    forth = PermutohedralLattice(features, pad_to_multiple=1).filter(a)
    back = slow_filter(features, b, reverse=True)
    assert torch.allclose((forth * b).sum(), (a * back).sum(), rtol=1e-12)


def test_approximates_the_dense_gaussian() -> None:
    y, x = torch.meshgrid(torch.arange(30.0), torch.arange(41.0), indexing='ij')
    features = torch.stack([x, y], -1).view(-1, 2) / 4
    values = torch.rand(len(features), 2)
    lattice = PermutohedralLattice(features)
    ours = lattice.filter(values) / lattice.mass
    kernel = torch.exp(-(torch.cdist(features, features) ** 2) / 2)
    exact = kernel @ values / kernel.sum(1, keepdim=True)
    error, spread = (ours - exact).abs().max(), exact.std()
    assert error < 0.6 * spread
    assert torch.corrcoef(torch.stack([ours[:, 0], exact[:, 0]]))[0, 1] > 0.99


def test_mass_is_positive_and_counts_the_point_itself() -> None:
    far = 1000 * torch.arange(5.0)[:, None].repeat(1, 3)
    mass = PermutohedralLattice(far, pad_to_multiple=1).mass
    # A lone point has sum_r b_r^2 at least, whose minimum is 1 / (d + 1).
    assert (mass > 1 / 4 / (1 + 2**-3)).all()
    crowd = PermutohedralLattice(torch.zeros(8, 3)).mass
    # A path along all 4 axes ends where it began and adds 2^-4 of the mass.
    assert torch.allclose(crowd, torch.tensor(8 * (1 + 2**-4) / (1 + 2**-3)))


def test_phantom_points_change_the_filter_near_the_origin_only() -> None:
    features = torch.rand(9, 2, dtype=torch.float64) + torch.tensor([0.9, 0.9])
    padded = PermutohedralLattice(features)
    plain = PermutohedralLattice(features, pad_to_multiple=1)
    assert padded.num_vertices > plain.num_vertices
    eight = features[:8]
    same = PermutohedralLattice(eight).num_vertices
    assert same == PermutohedralLattice(eight, pad_to_multiple=1).num_vertices
    shifted = features + 100
    values = torch.rand(9, 2, dtype=torch.float64)
    assert torch.equal(
        PermutohedralLattice(shifted).filter(values),
        PermutohedralLattice(shifted, pad_to_multiple=1).filter(values),
    )


@pytest.mark.parametrize('dims', [1, 2, 5])
def test_groups_do_not_see_each_other(dims: int) -> None:
    # 22 points leave 2 phantoms in each group, which count near the origin.
    features = torch.randn(22, 3, dims, dtype=torch.float64) / 2
    values = torch.rand(22, 3, 2, dtype=torch.float64)
    grouped = PermutohedralLattice(features.flatten(0, 1), groups=3)
    together = grouped.filter_symmetric(values.flatten(0, 1)).view(22, 3, 2)
    for group in range(3):
        alone = PermutohedralLattice(features[:, group])
        wanted = alone.filter_symmetric(values[:, group])
        assert torch.allclose(together[:, group], wanted, rtol=0, atol=1e-12)


def test_long_sums_may_goin_parts() -> None:
    crowd = torch.tensor([0.0, 1]).double().repeat_interleave(torch.tensor([1000, 3]))
    lattice = PermutohedralLattice(crowd[:, None].expand(-1, 2))
    values = torch.rand(1003, 2, dtype=torch.float64)
    splat, join = in_parts(lattice.plain.splat)
    lengths = splat.offsets.diff(append=torch.tensor([len(splat.columns)]))
    assert lengths.max() == 64
    whole = lattice.plain.splat(values)
    assert torch.allclose(join(splat(values)), whole, rtol=1e-12)
    parts = lattice.plain._replace(splat=splat, join=join)
    assert torch.allclose(parts(values), lattice.filter(values), rtol=1e-12)


def test_symmetric_filter_is_the_kernel_between_roots_of_the_mass() -> None:
    lattice = PermutohedralLattice(torch.randn(40, 3, dtype=torch.float64))
    values = torch.rand(40, 2, dtype=torch.float64)
    root = lattice.mass.rsqrt()
    wanted = lattice.filter(values * root) * root
    assert torch.allclose(lattice.filter_symmetric(values), wanted, rtol=1e-12)


def test_few_and_many_cells() -> None:
    near = torch.randn(60, 5, dtype=torch.float64)
    values = torch.rand(60, 2, dtype=torch.float64)
    for spread in (3e1, 3e2, 3e3):  # 3e8, 1e13 and 8e17 cells
        far = torch.cat([near, spread * torch.eye(5, dtype=torch.float64)])
        lattice = PermutohedralLattice(far, pad_to_multiple=1)
        padded = torch.cat([values, torch.zeros(5, 2, dtype=torch.float64)])
        wanted = slow_filter(near, values)
        assert torch.allclose(lattice.filter(padded)[:60], wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    'features, message',
    [
        (torch.zeros(4), r'\(N, d\)'),
        (torch.zeros(4, 2, dtype=torch.int64), 'floats'),
        (torch.full((4, 2), float('nan')), 'finite'),
        (torch.full((4, 2), 1e7), 'larger kernel widths'),
        (torch.linspace(0, 9e5, 40)[:, None] * torch.eye(5).repeat(8, 1), '5 features'),
        (torch.zeros(4, 300), '300 features spread over 1e[+]'),
    ],
)
def test_bad_features_are_refused(features: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        PermutohedralLattice(features)


def test_points_that_do_not_divide_into_groups_are_refused() -> None:
    with pytest.raises(DataError, match='7 points are no 2 groups'):
        PermutohedralLattice(torch.rand(7, 2), groups=2)
