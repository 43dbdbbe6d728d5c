"""Equivariance of class maps, by its definition."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import MapEquivarianceLoss

LABELS = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0]]).double()


def test_by_hand() -> None:
    """One class, two places: [2, 0] and [1, 4] become [1, 0] and [0.25, 1]."""
    maps = torch.tensor([[[[2.0, -3.0]]]]).double()
    other = torch.tensor([[[[1.0, 4.0]]]]).double()
    label = torch.ones(1, 1).double()
    loss = MapEquivarianceLoss(2.0)(maps, other, label)['loss_equivariance']
    assert loss.item() == pytest.approx(2 * (0.75 + 1) / 2, rel=1e-4)


@pytest.mark.parametrize('distance', ['l1', 'l2'])
def test_place_by_place(distance) -> None:
    maps, other = torch.randn(2, 3, 3, 2, 5, dtype=torch.float64)
    total = 0.0
    for n in range(3):
        present = [c for c in range(3) if LABELS[n, c]]
        for c in present:
            a, b = (x[n, c].clamp(min=0) for x in (maps, other))
            gap = a / (a.max() + 1e-5) - b / (b.max() + 1e-5)
            cost = gap.abs() if distance == 'l1' else gap**2
            total += cost.mean().item() / len(present) / 3
    loss = MapEquivarianceLoss(distance=distance)(maps, other, LABELS)
    assert loss['loss_equivariance'].item() == pytest.approx(total, rel=1e-12)


def test_laws() -> None:
    maps, other = torch.randn(2, 3, 3, 2, 5, dtype=torch.float64)
    loss = MapEquivarianceLoss()
    assert loss(maps, maps, LABELS)['loss_equivariance'] == 0
    assert loss(maps, other, LABELS * 0)['loss_equivariance'] == 0
    # The mean over the batch is that of its images: processes may share them out.
    each = [
        loss(maps[n : n + 1], other[n : n + 1], LABELS[n : n + 1])['loss_equivariance']
        for n in range(3)
    ]
    torch.testing.assert_close(
        loss(maps, other, LABELS)['loss_equivariance'], torch.stack(each).mean()
    )
    dead = torch.full_like(maps, -1.0).requires_grad_()
    loss(dead, other, LABELS)['loss_equivariance'].backward()
    assert dead.grad.isfinite().all(), 'maps that are nowhere positive'
    assert torch.autograd.gradcheck(
        lambda a, b: loss(a, b, LABELS)['loss_equivariance'],
        (maps.requires_grad_(), other.requires_grad_()),
    )


def test_mistakes() -> None:
    with pytest.raises(ConfigError, match=r'weight must be 0 \(off\) or more, not -1'):
        MapEquivarianceLoss(-1)
    with pytest.raises(ConfigError, match="unknown distance 'cosine': Allowed: l1"):
        MapEquivarianceLoss(distance='cosine')
