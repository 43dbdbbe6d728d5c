"""The contrast of class tokens: against loops in float64, by hand, at its limits."""

from __future__ import annotations

import math

import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import ClassContrastLoss


def slow(tokens, labels, temperature=1.0):
    """Layer by layer, image by image, class by class."""
    layers, images, classes, _ = tokens.shape
    total = 0.0
    for layer in range(layers):
        for n in range(images):
            each = []
            for c in range(classes):
                if not labels[n, c]:
                    continue
                a = tokens[layer, n, c]
                cosines = [
                    float(a @ b / a.norm() / b.norm()) / temperature
                    for b in tokens[layer, n]
                ]
                each.append(math.log(sum(map(math.exp, cosines))) - cosines[c])
            total += sum(each) / len(each) if each else 0.0
    return total / layers / images


LABELS = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])


@pytest.mark.parametrize('temperature', [1.0, 0.2])
def test_equals_loops(temperature) -> None:
    tokens = torch.randn(3, 3, 4, 6, dtype=torch.float64)
    loss = ClassContrastLoss(2.0, temperature)(tokens, LABELS)
    assert loss.item() == pytest.approx(2 * slow(tokens, LABELS, temperature), rel=1e-7)


def test_by_hand() -> None:
    """Equal tokens: log C. Opposite ones: log(1 + e^-2)."""
    same = torch.ones(2, 1, 4, 3)
    ones = torch.ones(1, 4)
    assert ClassContrastLoss()(same, ones).item() == pytest.approx(math.log(4))
    opposite = torch.tensor([1.0, -1.0]).reshape(1, 1, 2, 1)
    loss = ClassContrastLoss()(opposite, torch.tensor([[1, 0]]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_length_of_a_token_does_not_matter() -> None:
    tokens = torch.randn(1, 3, 4, 6, dtype=torch.float64)
    loss = ClassContrastLoss()
    torch.testing.assert_close(loss(tokens * 7, LABELS), loss(tokens, LABELS))


def test_gradient() -> None:
    tokens = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: ClassContrastLoss()(t, LABELS), tokens)


def test_no_class_and_zero_tokens_are_finite() -> None:
    tokens = torch.zeros(2, 3, 4, 3, requires_grad=True)
    ClassContrastLoss()(tokens, LABELS).backward()
    assert tokens.grad.isfinite().all()
    assert ClassContrastLoss()(torch.randn(2, 3, 4, 3), torch.zeros(3, 4)) == 0
    half = (torch.randn(2, 3, 4, 64) * 300).half()
    assert ClassContrastLoss()(half, LABELS).isfinite()


def test_a_step_along_it_parts_the_tokens() -> None:
    tokens = torch.randn(1, 1, 4, 8).mul(0.1).add(1).requires_grad_()
    ones = torch.ones(1, 4)

    def closest(t):
        unit = t / t.norm(dim=-1, keepdim=True)
        return (unit @ unit.mT - 2 * torch.eye(4)).amax()

    (gradient,) = torch.autograd.grad(ClassContrastLoss()(tokens, ones), tokens)
    assert closest(tokens - 5 * gradient) < closest(tokens)


@pytest.mark.parametrize('wrong', [dict(weight=-1), dict(temperature=0)])
def test_numbers_out_of_range(wrong) -> None:
    with pytest.raises(ConfigError, match='needs weight >= 0 and temperature > 0, not'):
        ClassContrastLoss(**wrong)
