"""Balanced cross entropy against its formula, pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import BalancedCrossEntropyLoss
from wsss_plugins.registry import MODELS, build_as


def random_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of 4 classes and label maps with ignored pixels, 3 images of 5x7."""
    logits = torch.randn(3, 4, 5, 7, dtype=torch.float64)
    labels = torch.randint(4, (3, 5, 7))
    labels[torch.rand(labels.shape) < 0.2] = 255
    return logits, labels


def costs_of(logits, labels, image: int) -> tuple[list[float], list[float]]:
    """-log p of each background and of each object pixel of one image."""
    found: tuple[list[float], list[float]] = ([], [])
    for y in range(labels.shape[1]):
        for x in range(labels.shape[2]):
            label = int(labels[image, y, x])
            if label != 255:
                scores = [math.exp(v) for v in logits[image, :, y, x]]
                cost = -math.log(scores[label] / sum(scores))
                found[label > 0].append(cost)
    return found


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def test_is_a_mean_for_each_kind_in_each_image() -> None:
    logits, labels = random_batch()
    wanted = 0.0
    for image in range(3):
        background, objects = costs_of(logits, labels, image)
        assert background and objects
        wanted += (0.5 * mean(background) + 2 * mean(objects)) / 3
    loss = BalancedCrossEntropyLoss(background=0.5, foreground=2)(logits, labels)
    assert loss.item() == pytest.approx(wanted, rel=1e-12)


def test_over_the_batch() -> None:
    logits, labels = random_batch()
    labels[0, :3] = 0
    kinds = [costs_of(logits, labels, image) for image in range(3)]
    background, objects = ([cost for k in kinds for cost in k[i]] for i in (0, 1))
    wanted = mean(background) + mean(objects)
    loss = BalancedCrossEntropyLoss(over='batch')(logits, labels)
    assert loss.item() == pytest.approx(wanted, rel=1e-12)
    assert loss != BalancedCrossEntropyLoss()(logits, labels)


def test_few_object_pixels_weigh_as_much_as_the_background() -> None:
    logits = torch.zeros(1, 2, 10, 10)
    labels = torch.zeros(1, 10, 10, dtype=torch.long)
    labels[0, 0, 0] = 1
    logits.requires_grad_(True)
    BalancedCrossEntropyLoss()(logits, labels).backward()
    pull = -logits.grad[0, 1]
    assert pull[0, 0].item() == pytest.approx(0.5)
    assert pull.sum().item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize('label', [0, 1, 255])
@pytest.mark.parametrize('over', ['image', 'batch'])
def test_a_kind_without_pixels_adds_nothing(label: int, over: str) -> None:
    logits = torch.randn(2, 3, 4, 6, dtype=torch.float64, requires_grad=True)
    labels = torch.full((2, 4, 6), label)
    loss = BalancedCrossEntropyLoss(over=over)(logits, labels)
    known = logits.detach()
    costs = sum(
        (c for i in range(2) for k in costs_of(known, labels, i) for c in k), 0.0
    )
    assert loss.item() == pytest.approx(costs / 48)
    loss.backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad == 0).all() == (label == 255)


def test_ignored_pixels_do_not_count() -> None:
    logits, labels = random_batch()
    changed = torch.where((labels == 255)[:, None], torch.randn_like(logits), logits)
    assert not torch.equal(changed, logits)
    loss = BalancedCrossEntropyLoss()
    assert loss(logits, labels) == loss(changed, labels)
    other = torch.where(labels == 255, torch.tensor(7), labels)
    assert loss(logits, other, ignore_index=7) == loss(logits, labels)


def test_pixel_weights_are_those_of_a_mean() -> None:
    logits, labels = random_batch()
    weight = torch.rand(3, 5, 7, dtype=torch.float64)
    loss = BalancedCrossEntropyLoss(loss_weight=3)
    once = loss(logits, labels, weight)
    assert torch.isclose(once, loss(logits, labels, 2 * weight))
    chosen = (weight > 0.5).double()
    kept = torch.where(chosen > 0, labels, torch.tensor(255))
    assert torch.isclose(loss(logits, labels, chosen), loss(logits, kept))
    plain = BalancedCrossEntropyLoss()(logits, labels, weight)
    assert torch.isclose(once, 3 * plain)


def test_builds_by_name_and_has_mmsegs_name() -> None:
    loss = build_as(
        MODELS, dict(type='BalancedCrossEntropyLoss', over='batch'), torch.nn.Module
    )
    assert loss.loss_name == 'loss_balanced' and loss.over == 'batch'
    with pytest.raises(ConfigError, match=r"over must be one of .* not 'pixel'"):
        BalancedCrossEntropyLoss(over='pixel')
