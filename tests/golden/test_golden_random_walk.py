"""Pairs and random walks of PSA, MCTformer and IRN, array by array.

Exact: pair lists, pair labels, predictions. The golden walks square T in float32, which
is off from float64 by up to 1.2e-5 (PSA) and 3.6e-5 (IRN): that, and not more, is the
tolerance against them.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.affinity import (
    Transition,
    feature_affinities,
    pair_indices,
    pair_labels,
    pair_offsets,
)
from wsss_plugins.refiners import ConstantBackground, PowerBackground, RandomWalk
from wsss_plugins.structures import Seed


def case_of(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f'{prefix}_'): torch.from_numpy(value)
        for key, value in arrays.items()
        if key.startswith(f'{prefix}_')
    }


def features_of(case: dict[str, Tensor]) -> Tensor:
    return F.elu(case['pre_elu_features'])


class Given(nn.Module):
    """A network that answers with what it was given."""

    radius = 5

    def __init__(self, stride: int, **answers: Tensor) -> None:
        super().__init__()
        self.stride = stride
        for name, answer in answers.items():
            setattr(self, name, lambda images, answer=answer: answer)

    def normalise(self, images: Tensor) -> Tensor:
        return images


@pytest.mark.parametrize('prefix', ['g56_r5', 'g16_r5', 'g12_r3'])
def test_pair_labels_of_psa(golden, prefix: str) -> None:
    case = case_of(golden('psa_affinity_labels'), prefix)
    radius = int(case['radius'])
    assert torch.equal(pair_offsets(radius), case['search_dist'])
    kinds = pair_labels(case['label'], radius)
    for name, kind in zip(('bg_pos', 'fg_pos', 'neg'), kinds, strict=True):
        assert torch.equal(kind, case[name].bool()), name


@pytest.mark.parametrize('prefix', ['sq', 'rect'])
def test_pair_indices_and_affinities_of_psa(golden, prefix: str) -> None:
    case = case_of(golden('psa_affinity_loss'), prefix)
    features = features_of(case)
    source, target = pair_indices(*features.shape[-2:], 5)
    assert torch.equal(source, case['ind_from'])
    assert torch.equal(target, case['ind_to'])
    found = feature_affinities(features, 5).flatten(2)[..., source]
    assert (found - case['aff']).abs().max() < 1e-6


@pytest.mark.parametrize('prefix', ['a', 'b', 'mct'])
def test_transition_of_psa(golden, prefix: str) -> None:
    case = case_of(golden('psa_random_walk'), prefix)
    affinities = feature_affinities(features_of(case).double(), 5)[0]
    _, beta, log_steps, _ = case['params'].tolist()
    wanted = case['dense_aff'].double() ** beta
    transition = Transition(affinities, 5, beta, 'psa').to_dense()
    assert (transition - wanted / wanted.sum(0)).abs().max() < 1e-7
    power = torch.linalg.matrix_power(transition, 2 ** int(log_steps))
    middle = len(power) // 2
    rows = power.diagonal(), power[0], power[middle]
    names = 'trans_mat_diag', 'trans_mat_row0', 'trans_mat_mid'
    for name, row in zip(names, rows, strict=True):
        assert (row - case[name]).abs().max() < 1.5e-5, name


@pytest.mark.parametrize('prefix', ['a', 'b', 'mct'])
def test_walk_on_the_grid_of_psa(golden, prefix: str) -> None:
    case = case_of(golden('psa_random_walk'), prefix)
    _, beta, log_steps, _ = case['params'].tolist()
    wanted = case['cam_rw_low']
    maps = case['cam_vec'].reshape(wanted.shape)
    affinities = feature_affinities(features_of(case), 5)[0]
    transition = Transition(affinities, 5, beta, 'psa')
    walked = transition.walk(maps, 2 ** int(log_steps))
    assert (walked - wanted).abs().max() < 1.2e-5


@pytest.mark.parametrize('prefix', ['a', 'b', 'mct'])
def test_the_gap_is_the_rounding_of_the_golden(golden, prefix: str) -> None:
    """Its matrix squared in float32 gives its maps, squared in float64 ours."""
    case = case_of(golden('psa_random_walk'), prefix)
    _, beta, log_steps, _ = case['params'].tolist()
    wanted, maps = case['cam_rw_low'], case['cam_vec']
    found = {}
    for dtype in (torch.float32, torch.float64):
        power = case['dense_aff'].to(dtype) ** beta
        power = power / power.sum(0)
        for _ in range(int(log_steps)):
            power = power @ power
        found[dtype] = (maps.to(dtype) @ power).view_as(wanted)
    assert (found[torch.float32] - wanted).abs().max() < 1e-6
    affinities = feature_affinities(features_of(case).double(), 5)[0]
    transition = Transition(affinities, 5, beta, 'psa')
    walked = transition.walk(maps.view_as(wanted).double(), 2 ** int(log_steps))
    assert (walked - found[torch.float64]).abs().max() < 1e-5


@pytest.mark.parametrize('prefix', ['a', 'b', 'mct'])
def test_refiner_of_psa(golden, prefix: str) -> None:
    case = case_of(golden('psa_random_walk'), prefix)
    alpha, beta, log_steps, threshold = case['params'].tolist()
    seed = Seed(case['cams'], case['keys'])
    height, width = seed.size
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    background = PowerBackground(alpha, normalise=False)
    if threshold >= 0:
        background = ConstantBackground(threshold, normalise=False)
    walk = RandomWalk(
        Given(8, features=features_of(case)),
        beta=beta,
        log_steps=int(log_steps),
        border='psa',
    )
    refined = walk(image, background(image, seed))
    wanted = case['cam_rw_up'][:, :height, :width]
    assert (refined.probabilities() - wanted).abs().max() < 1.2e-5
    assert torch.equal(refined.to_label(), case['pred'])


@pytest.mark.parametrize('prefix', ['rw', 'rwb'])
def test_boundary_walk_of_irn(golden, prefix: str) -> None:
    case = case_of(golden('irn'), prefix)
    ours = {tuple(offset) for offset in pair_offsets(5).tolist()}
    assert ours == {tuple(offset) for offset in case['search_dst'].tolist()}
    edge = case['edge']
    walk = RandomWalk(
        Given(1, boundaries=edge[None]),
        beta=float(case['beta']),
        log_steps=int(case['exp_times']),
        walk_background=False,
    )
    image = torch.zeros(3, *edge.shape, dtype=torch.uint8)
    refined = walk(image, Seed(case['cam'], torch.arange(2)))
    assert (refined.scores - case['rw']).abs().max() < 3.6e-5
