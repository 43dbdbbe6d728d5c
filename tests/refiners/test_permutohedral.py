"""The lattice against a slow definition, the dense Gaussian, and pydensecrf's filter."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
import torch
from torch import Tensor

from wsss_plugins.errors import DataError
from wsss_plugins.refiners import PermutohedralLattice

KERNELS = dict(
    gauss3=(3,),
    gauss1=(1,),
    bil80_13=(80, 13),
    bil67_3=(67, 3),
    bil50_5=(50, 5),
    bil12_20=(12, 20),
)


def pixel_features(image: Tensor, sxy: float, srgb: float | None = None) -> Tensor:
    """``(N, 2 or 5)`` from an image ``(H, W, 3)``, written pixel by pixel."""
    height, width, _ = image.shape
    rows = []
    for y in range(height):
        for x in range(width):
            colour = [] if srgb is None else (image[y, x].float() / srgb).tolist()
            rows.append([x / sxy, y / sxy, *colour])
    return torch.tensor(rows)


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


@pytest.mark.parametrize(
    'features, message',
    [
        (torch.zeros(4), r'\(N, d\)'),
        (torch.zeros(4, 2, dtype=torch.int64), 'floats'),
        (torch.full((4, 2), float('nan')), 'finite'),
        (torch.full((4, 2), 1e7), 'larger kernel widths'),
        (torch.linspace(0, 9e5, 40)[:, None] * torch.eye(5).repeat(8, 1), '5 features'),
    ],
)
def test_bad_features_are_refused(features: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        PermutohedralLattice(features)


def filter_golden(arrays: dict, key: str, kernel: str, mode: str) -> None:
    """Compares one array of pydensecrf with ours to 1e-5 of its scale."""
    image, wanted = torch.from_numpy(arrays['image']), torch.from_numpy(arrays[key])
    lattice = PermutohedralLattice(pixel_features(image, *KERNELS[kernel]))
    values = torch.from_numpy(arrays['Q0']).flatten(1).T
    norm = 1 / (lattice.mass + 1e-20)
    ours = {
        'sym': lambda: lattice.filter_symmetric(values),
        'none': lambda: lattice.filter(values),
        'before': lambda: lattice.filter(values * norm),
        'after': lambda: lattice.filter(values) * norm,
    }[mode]()
    error = (ours.T.reshape(wanted.shape) - wanted).abs().max()
    assert error <= 1e-5 * max(1, wanted.abs().max()), f'{key}: {error:.1e}'


SMALL = ['gauss3_sym', 'gauss3_none', 'bil80_13_sym', 'bil12_20_sym']
FULL = [*SMALL, 'gauss1_sym', 'bil67_3_sym', 'bil50_5_sym', 'bil80_13_none']
MODES = [
    f'{kernel}_{mode}'
    for kernel in ('gauss3', 'bil80_13')
    for mode in ('before', 'after')
]


@pytest.mark.parametrize('key', [*SMALL, 'bil80_13_before', 'bil80_13_after'])
def test_small_golden(golden, key: str) -> None:
    arrays = {k.removeprefix('filter_'): v for k, v in golden('crf_small').items()}
    filter_golden(arrays, key, *key.rsplit('_', 1))


@pytest.mark.parametrize('key', [*FULL, *MODES])
def test_golden(golden, key: str) -> None:
    filter_golden(golden('crf_filter'), key, *key.rsplit('_', 1))
