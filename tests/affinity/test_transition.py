"""The sparse random walk against dense matrices, and its laws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wsss_plugins.affinity import Transition, pair_indices, pair_offsets
from wsss_plugins.errors import ConfigError, DataError


def affinities_of(height: int, width: int, radius: int) -> Tensor:
    pairs = len(pair_offsets(radius))
    return torch.rand(pairs, height, width, dtype=torch.float64)


def dense(affinities: Tensor, radius: int, beta: float, border: str) -> Tensor:
    """T by its definition, as a matrix."""
    height, width = affinities.shape[1:]
    source, target = pair_indices(height, width, radius, border)
    matrix = torch.eye(height * width, dtype=affinities.dtype)
    for pair, partners in enumerate(target):
        for i, j in zip(source.tolist(), partners.tolist(), strict=True):
            if j >= 0:
                value = affinities[pair].flatten()[i]
                matrix[i, j] = matrix[j, i] = value
    matrix = matrix**beta
    return matrix / matrix.sum(0)


CASES = [
    (7, 11, 3, 8.0, 'irn'),
    (7, 11, 3, 2.0, 'psa'),
    (12, 4, 5, 1.0, 'irn'),
    (9, 10, 5, 4.0, 'psa'),
    (1, 6, 4, 3.0, 'irn'),
    (5, 1, 4, 3.0, 'irn'),
]


@pytest.mark.parametrize(('height', 'width', 'radius', 'beta', 'border'), CASES)
def test_sparse_equals_dense(height, width, radius, beta, border) -> None:
    affinities = affinities_of(height, width, radius)
    transition = Transition(affinities, radius, beta, border)
    wanted = dense(affinities, radius, beta, border)
    assert torch.allclose(transition.to_dense(), wanted, atol=1e-14)
    maps = torch.rand(3, height, width, dtype=torch.float64)
    power = torch.linalg.matrix_power(wanted, 13)
    walked = transition.walk(maps, 13)
    assert torch.allclose(walked.flatten(1), maps.flatten(1) @ power, atol=1e-13)


def test_columns_sum_to_one_and_the_support_is_symmetric() -> None:
    matrix = Transition(affinities_of(8, 13, 4), 4).to_dense()
    assert torch.allclose(matrix.sum(0), torch.ones(104, dtype=torch.float64))
    assert torch.equal(matrix > 0, matrix.T > 0)
    assert (matrix.diagonal() > 0).all()


def test_no_step_and_no_links_change_nothing() -> None:
    maps = torch.rand(2, 6, 9)
    affinities = affinities_of(6, 9, 3).float()
    assert torch.equal(Transition(affinities, 3).walk(maps, 0), maps)
    assert torch.equal(Transition(affinities * 0, 3).walk(maps, 5), maps)
    # Under PSA's rule a map this small has no pair.
    small = affinities_of(4, 9, 5).float()
    assert torch.equal(
        Transition(small, 5, border='psa').walk(maps[:, :4], 5), maps[:, :4]
    )


def test_steps_add_up_and_walking_is_linear() -> None:
    transition = Transition(affinities_of(6, 9, 3), 3, 2.0)
    maps = torch.rand(2, 6, 9, dtype=torch.float64)
    once = transition.walk(maps, 7)
    assert torch.allclose(transition.walk(transition.walk(maps, 4), 3), once)
    assert torch.allclose(transition.walk(maps.sum(0)[None], 7)[0], once.sum(0))


def test_stays_within_the_range_and_keeps_constants() -> None:
    transition = Transition(affinities_of(10, 14, 5).float(), 5, 1.0)
    maps = torch.stack([torch.rand(10, 14), torch.full((10, 14), 0.7)])
    walked = transition.walk(maps, 256)
    assert walked[0].min() > maps[0].min() and walked[0].max() < maps[0].max()
    assert (walked[1] - 0.7).abs().max() < 1e-7


def test_strong_links_end_in_the_mean_by_column_sums() -> None:
    """The stationary distribution of a symmetric A is its column sums."""
    affinities = affinities_of(5, 7, 3) / 2 + 0.5
    sums = (dense(affinities, 3, 1.0, 'irn') > 0).double()  # the support of A
    maps = torch.rand(1, 5, 7, dtype=torch.float64)
    walked = Transition(torch.ones_like(affinities), 3, 1.0).walk(maps, 2000)
    mean = (maps.flatten() * sums.sum(0)).sum() / sums.sum()
    assert torch.allclose(walked, mean.expand_as(walked), atol=1e-10)


def test_nothing_passes_a_wall_of_zeros() -> None:
    affinities = torch.ones_like(affinities_of(6, 12, 3))
    dx = pair_offsets(3)[:, 1]
    for pair, step in enumerate(dx.tolist()):
        for x in range(12):
            if (x < 6) != (x + step < 6):
                affinities[pair, :, x] = 0
    maps = torch.zeros(1, 6, 12, dtype=torch.float64)
    maps[0, :, :6] = 1
    walked = Transition(affinities, 3).walk(maps, 50)
    assert torch.allclose(walked, maps, atol=1e-14)


def test_float32_is_worked_on_in_float64() -> None:
    """A pixel with hardly any link rounds the same way at every step."""
    affinities = (affinities_of(24, 31, 5) ** 4).float()
    maps = torch.rand(3, 24, 31)
    exact = Transition(affinities.double(), 5).walk(maps.double(), 256)
    found = Transition(affinities, 5).walk(maps, 256)
    assert found.dtype == torch.float32
    assert torch.equal(found, exact.float())


def test_what_lies_beyond_the_map_is_not_looked_at() -> None:
    affinities = affinities_of(6, 9, 3)
    spoilt = affinities.clone()
    spoilt[0, :, -1] = float('nan')  # right of the last column
    assert torch.equal(
        Transition(spoilt, 3).to_dense(), Transition(affinities, 3).to_dense()
    )


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -0.1, 1.1])
def test_refuses_affinities_out_of_range(value: float) -> None:
    affinities = affinities_of(6, 9, 3)
    affinities[2, 1, 4] = value
    with pytest.raises(DataError, match=r'finite and in \[0, 1\]'):
        Transition(affinities, 3)


def test_refuses_other_sizes_and_numbers() -> None:
    affinities = affinities_of(6, 9, 3)
    with pytest.raises(DataError, match=r'\(34, 6, 9\).*not \(12, 6, 9\)'):
        Transition(affinities, 5)
    with pytest.raises(ConfigError, match=r'beta .* not 0'):
        Transition(affinities, 3, 0)
    transition = Transition(affinities, 3)
    with pytest.raises(DataError, match=r'\(2, 9, 6\).*\(6, 9\)'):
        transition.walk(torch.rand(2, 9, 6), 1)
    with pytest.raises(ConfigError, match='not -1'):
        transition.walk(torch.rand(2, 6, 9), -1)
