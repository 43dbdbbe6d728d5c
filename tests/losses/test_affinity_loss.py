"""AffinityNet's loss against its formula, pair by pair."""

from __future__ import annotations

import math

import pytest
import torch

from wsss_plugins.losses import AffinityLoss
from wsss_plugins.registry import MODELS, build_as


def random_pairs() -> tuple[torch.Tensor, ...]:
    affinities = torch.rand(2, 3, 7, dtype=torch.float64)
    kind = torch.randint(4, affinities.shape)  # 3 is none of the kinds
    return affinities, kind == 0, kind == 1, kind == 2


def test_is_a_mean_for_each_kind() -> None:
    affinities, *kinds = random_pairs()
    losses = AffinityLoss(eps=0)(affinities, *kinds)
    alike = [-math.log(a) for a in affinities[kinds[0]]]
    objects = [-math.log(a) for a in affinities[kinds[1]]]
    unlike = [-math.log(1 - a) for a in affinities[kinds[2]]]
    wanted = [sum(each) / len(each) for each in (alike, objects, unlike)]
    got = [losses[name].item() for name in ('loss_bg', 'loss_fg', 'loss_neg')]
    assert got == pytest.approx([wanted[0] / 4, wanted[1] / 4, wanted[2] / 2])


def test_weights_are_factors() -> None:
    pairs = random_pairs()
    one = AffinityLoss(1, 1, 1)(*pairs)
    three = AffinityLoss(3, 2, 0.5)(*pairs)
    for name, factor in (('loss_bg', 3), ('loss_fg', 2), ('loss_neg', 0.5)):
        assert three[name].item() == pytest.approx(factor * one[name].item())


def test_pairs_without_a_kind_do_not_count() -> None:
    affinities, *kinds = random_pairs()
    unsure = ~(kinds[0] | kinds[1] | kinds[2])
    assert unsure.any()
    changed = torch.where(unsure, 1 - affinities, affinities)
    before, after = (AffinityLoss()(a, *kinds) for a in (affinities, changed))
    assert all(before[name] == after[name] for name in before)


def test_stays_finite_without_pairs_and_at_the_ends() -> None:
    affinities = torch.tensor([[[0.0, 1.0]]], requires_grad=True)
    none = torch.zeros(1, 1, 2, dtype=torch.bool)
    ends = torch.tensor([[[True, False]]])
    losses = AffinityLoss()(affinities, ends, none, ~ends)
    assert losses['loss_fg'] == 0
    assert losses['loss_bg'].item() == pytest.approx(-math.log(1e-5) / 4, rel=1e-4)
    assert losses['loss_neg'].item() == pytest.approx(-math.log(1e-5) / 2, rel=1e-3)
    sum(losses.values()).backward()
    assert affinities.grad.isfinite().all()


def test_builds_by_name() -> None:
    loss = build_as(MODELS, dict(type='AffinityLoss', eps=1e-6), torch.nn.Module)
    assert isinstance(loss, AffinityLoss)
    assert loss.eps == 1e-6
