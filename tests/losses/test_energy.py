"""The energy of a prediction against its definition, pixel by pixel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import EnergyLoss
from wsss_plugins.losses.energy import gaussian_sums


def test_sums_are_gaussian() -> None:
    maps, features = torch.rand(2, 3, 2, 4), torch.randn(2, 8, 5)
    found = gaussian_sums(maps, features).flatten(2)
    for image in range(2):
        for a in range(8):
            gaps = (features[image] - features[image, a]).square().sum(1)
            wanted = ((-gaps / 2).exp() * maps[image].flatten(1)).sum(1)
            torch.testing.assert_close(found[image, :, a], wanted)


def test_energy_and_the_gradient_that_it_is_given() -> None:
    logits = torch.randn(2, 3, 6, 8, requires_grad=True)
    images = torch.randint(0, 256, (2, 3, 6, 8)).float()
    labels = torch.zeros(2, 6, 8, dtype=torch.long)
    labels[:, :, 4:] = 255
    inside = torch.ones(2, 6, 8)
    inside[1, 3:] = 0
    loss = EnergyLoss(weight=1.0, loss_weight=1.0)
    shares = F.interpolate(logits.softmax(1), (3, 4), mode='bilinear')
    box, unsure = inside[:, None, ::2, ::2], (labels == 255)[:, None, ::2, ::2]
    gate = (box - shares.detach().amax(1, keepdim=True)).clamp(min=0)
    gate = gate.masked_fill(unsure, 1)
    filtered = gaussian_sums(shares * box, loss._features(images[..., ::2, ::2]))
    found = loss(logits, images, labels, inside)
    wanted = -(shares * box * gate * filtered).sum() / 2
    torch.testing.assert_close(found, wanted)
    (grad,) = torch.autograd.grad(found, logits)
    constant = (-2 * gate * filtered * box / 2).detach()
    (by_hand,) = torch.autograd.grad((shares * constant).sum(), logits)
    torch.testing.assert_close(grad, by_hand)


def test_widths_must_be_positive() -> None:
    with pytest.raises(ConfigError, match='widths > 0'):
        EnergyLoss(sigma_colour=0)
