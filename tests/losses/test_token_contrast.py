"""Contrasts of tokens and costs of affinities on cases that one can count."""

from __future__ import annotations

import math

import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import (
    AttentionAffinityLoss,
    ClassContrastOfCropsLoss,
    PatchContrastLoss,
    equal_pairs,
)
from wsss_plugins.registry import MODELS, build_as


def test_pairs_of_a_label_map() -> None:
    label = torch.tensor([[[0, 0], [3, 255]]])
    wanted = [[1, 1, 0, 255], [1, 1, 0, 255], [0, 0, 1, 255], [255] * 4]
    assert equal_pairs(label)[0].tolist() == wanted
    near = torch.eye(4, dtype=torch.bool)
    near[0, 2] = True
    found = equal_pairs(label, near)[0]
    assert found[0].tolist() == [1, 255, 0, 255] and found[2].tolist() == [
        255,
        255,
        1,
        255,
    ]


def test_patches_of_one_label_are_to_be_alike() -> None:
    """Two patches of one label and one of another; opposite directions count as alike."""
    label = torch.tensor([[[1, 1, 2]]])
    alike = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 3.0]]).T[None, :, None]
    loss = build_as(
        MODELS, dict(type='PatchContrastLoss', loss_weight=1.0), PatchContrastLoss
    )
    # Two ordered pairs are equal, and 1 is added to their number.
    assert float(loss(alike, label)) == pytest.approx(0.5 * (1 - 2 / 3))
    wrong = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).T[None, :, None]
    # Of four ordered pairs of different labels two are alike, of 4 + 1.
    assert float(loss(wrong, label)) == pytest.approx(0.5 + 0.5 * 2 / 5)


def test_nothing_to_compare_has_no_gradient() -> None:
    tokens = torch.randn(2, 3, 2, 2, requires_grad=True)
    unsure = torch.full((2, 2, 2), 255)
    loss = PatchContrastLoss(loss_weight=1.0)(tokens, unsure)
    assert float(loss) == 0.5
    loss.backward()
    assert not tokens.grad.any()
    affinities = torch.rand(2, 4, 4)
    assert float(AttentionAffinityLoss()(affinities, equal_pairs(unsure))) == 0


def test_affinities_cost_what_they_are_off() -> None:
    label = torch.tensor([[[0, 4]]])
    affinities = torch.tensor([[[0.5, 0.25], [0.75, 1.0]]])
    # Equal pairs, the diagonal: costs 0.5 and 0 of 2 + 1; others: 0.25 and 0.75 of 2 + 1.
    wanted = 0.5 * 0.5 / 3 + 0.5 * 1.0 / 3
    found = AttentionAffinityLoss(loss_weight=1.0)(affinities, equal_pairs(label))
    assert float(found) == pytest.approx(wanted)


def test_a_crop_of_background_is_pushed_away() -> None:
    loss = ClassContrastOfCropsLoss(temperature=1.0, loss_weight=1.0, eps=0.0)
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    flags = torch.tensor([[1, 1, 0]])
    near = math.log(1 + 1 / math.e)  # of a crop like the view; the background's E is 1
    zero = math.log(2)
    assert float(loss(student, teacher, flags)) == pytest.approx(
        (4 * near + 2 * zero) / 4
    )
    with pytest.raises(ConfigError, match='temperature'):
        ClassContrastOfCropsLoss(temperature=0)
