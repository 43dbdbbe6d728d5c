"""The attribute losses of eX-ViT against their formulas, number by number."""

from __future__ import annotations

import math

import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import (
    AttributeLoss,
    attribute_discriminability,
    attribute_diversity,
    generalised_mean,
    inner_products,
    normalised_mse,
)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


class Made:
    """Attribute features that are there in full."""

    def __init__(self, features: torch.Tensor) -> None:
        self.features = features

    def pooled(self, power: float) -> torch.Tensor:
        return generalised_mean(self.features, power)

    def inner_products(self) -> torch.Tensor:
        return inner_products(self.features)


class Untouchable:
    """Fails when anything is asked of it."""

    def __getattr__(self, name: str) -> None:
        raise AssertionError(f'{name} was computed')


def distance(first: list[float], second: list[float]) -> float:
    """BYOL, eq. 2: the squared distance of the two unit vectors."""
    one, two = (math.sqrt(sum(x * x for x in v)) for v in (first, second))
    return sum((a / one - b / two) ** 2 for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize('power', [1.0, 2.5, 3.0, 6.0])
def test_generalised_mean_by_its_definition(power) -> None:
    values = numbers(2, 4, 3, 5)
    pooled = generalised_mean(values, power)
    assert pooled.shape == (2, 4)
    for n in range(2):
        for c in range(4):
            powers = [max(x, 0.0) ** power for x in values[n, c].flatten().tolist()]
            assert pooled[n, c].item() == pytest.approx(
                (sum(powers) / 15) ** (1 / power), rel=1e-12
            )


def test_generalised_mean_lies_between_mean_and_maximum() -> None:
    values = numbers(3, 7, 5).abs()
    mean, most = values.mean((1, 2)), values.amax((1, 2))
    torch.testing.assert_close(generalised_mean(values, 1), mean)
    third = generalised_mean(values, 3)
    assert (third > mean).all() and (third < most).all()
    assert (generalised_mean(values, 6) > third).all()
    torch.testing.assert_close(generalised_mean(7 * values, 3), 7 * third)


def test_normalised_mse_by_its_definition() -> None:
    first, second = numbers(4, 6), numbers(4, 6)
    found = normalised_mse(first, second)
    for row in range(4):
        expected = distance(first[row].tolist(), second[row].tolist())
        assert found[row].item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(
        normalised_mse(first, 3 * first), torch.zeros(4).double()
    )
    torch.testing.assert_close(
        normalised_mse(first, -first), 4 * torch.ones(4).double()
    )


def test_discriminability_by_its_definition() -> None:
    pooled, other = numbers(3, 4, 6).abs(), numbers(3, 4, 6).abs()
    total = 0.0
    for n in range(3):
        one, two = pooled[n].tolist(), other[n].tolist()
        together = distance([x for v in one for x in v], [x for v in two for x in v])
        each = sum(distance(a, b) for a, b in zip(one, two, strict=True))
        total += abs(together - each)
    found = attribute_discriminability(pooled, other)
    assert found.item() == pytest.approx(total / 3, rel=1e-12)


def test_discriminability_is_zero_for_equal_views_and_for_one_attribute() -> None:
    pooled = numbers(3, 4, 6).abs()
    scaled = pooled * torch.tensor([[[2.0]], [[0.5]], [[9.0]]])  # each image as a whole
    assert attribute_discriminability(pooled, scaled).item() < 1e-14
    one = attribute_discriminability(pooled[:, :1], numbers(3, 1, 6).abs())
    assert one.item() < 1e-14


def test_diversity_by_its_definition() -> None:
    attributes = numbers(2, 4, 3, 5, 2)
    total = 0.0
    for image in attributes.flatten(2):
        for i in range(4):
            for j in range(4):
                if i != j:
                    inner = (image[i] * image[j]).sum()
                    total += inner / (image[i].norm() * image[j].norm())
    found = attribute_diversity(inner_products(attributes))
    torch.testing.assert_close(found, total / (2 * 4 * 3))


def test_diversity_of_known_attributes() -> None:
    """1 where they are alike, 0 where they are apart, and never below -1 / (S - 1)."""
    same = numbers(2, 1, 3, 4, 5).expand(2, 3, 3, 4, 5)
    assert attribute_diversity(inner_products(same)).item() == pytest.approx(1)
    apart = torch.eye(3, dtype=torch.float64)[None]
    assert attribute_diversity(inner_products(apart)).item() == 0
    centred = apart - apart.mean(1, keepdim=True)
    assert attribute_diversity(inner_products(centred)).item() == pytest.approx(-1 / 2)
    assert attribute_diversity(inner_products(same[:, :1])).item() == 0


def test_gradients() -> None:
    values = (numbers(2, 3, 2, 3, 2)).requires_grad_()
    other = numbers(2, 3, 2, 3, 2)
    check = torch.autograd.gradcheck
    assert check(lambda v: generalised_mean(v, 3.0), values)
    assert check(lambda v: attribute_diversity(inner_products(v)), values)

    def discriminability(v: torch.Tensor) -> torch.Tensor:
        return attribute_discriminability(generalised_mean(v), generalised_mean(other))

    assert check(discriminability, values)


@pytest.mark.parametrize('power', [1.0, 3.0, 6.0])
@pytest.mark.parametrize('value', [0.0, -2.0, 1e-12, 1e4])
def test_values_and_gradients_are_finite(power, value) -> None:
    """Of attributes that are nothing, negative, tiny or huge; in float32."""
    features = torch.full((2, 3, 4, 3, 5), value, requires_grad=True)
    loss = AttributeLoss(power=power)
    losses = loss(Made(features), Made(torch.zeros(2, 3, 4, 3, 5)))
    assert set(losses) == {'loss_dis', 'loss_div'}
    sum(losses.values()).backward()
    assert all(x.isfinite() for x in losses.values())
    assert features.grad.isfinite().all()


def test_attributes_that_are_nothing_are_like_no_other() -> None:
    features = numbers(1, 3, 4, 3, 5)
    features[:, 1] = 0
    lone = inner_products(features[:, [0, 2]])
    expected = attribute_diversity(lone) / 3  # one of three pairs
    torch.testing.assert_close(attribute_diversity(inner_products(features)), expected)


def test_weights_and_switches() -> None:
    first, second = Made(numbers(2, 3, 4, 3, 5)), Made(numbers(2, 3, 4, 3, 5))
    plain = AttributeLoss(discriminability=1, diversity=1)(first, second)
    default = AttributeLoss()(first, second)  # alpha = 0.5 and beta = 1
    torch.testing.assert_close(default['loss_dis'], 0.5 * plain['loss_dis'])
    torch.testing.assert_close(default['loss_div'], plain['loss_div'])
    assert set(AttributeLoss(discriminability=0)(first)) == {'loss_div'}
    assert set(AttributeLoss(diversity=0)(first, second)) == {'loss_dis'}
    off = AttributeLoss(discriminability=0, diversity=0)
    assert off(Untouchable(), Untouchable()) == {}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(discriminability=-1), 'discriminability must be 0'),
        (dict(diversity=float('nan')), 'diversity must be 0'),
        (dict(power=0.5), r'power must be in \[1, 6\], not 0.5'),
        (dict(power=7), 'power must be in'),
    ],
)
def test_what_is_refused(arguments, message) -> None:
    with pytest.raises(ConfigError, match=message):
        AttributeLoss(**arguments)
