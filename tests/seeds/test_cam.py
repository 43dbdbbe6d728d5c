"""CAM by its definition, on a model whose patch logits are known."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.seeds import CAM


@pytest.fixture
def doubting(tiny_classifier):
    """A classifier whose patch logits are negative everywhere."""
    model = tiny_classifier().double()
    model.head.patch_fc.bias.data -= 100
    return model


def test_floor(doubting):
    images = torch.randn(1, 3, 32, 24, dtype=torch.float64)
    labels = torch.tensor([[1, 0, 0, 1, 0]])
    assert (CAM()(doubting, images, labels) == 0).all()
    with torch.no_grad():
        logits = doubting.cam_logits(doubting.eval().backbone(images))
    maps = CAM(floor='minimum')(doubting, images, labels)
    expected = logits[:, 3] - logits[:, 3].min()
    torch.testing.assert_close(maps[:, 3], expected)
    assert maps[:, 3].max() > 0 and (maps[:, 1] == 0).all()


def test_unknown_floor():
    with pytest.raises(ConfigError, match=r"one of \('zero', 'minimum'\), not 'one'"):
        CAM(floor='one')
