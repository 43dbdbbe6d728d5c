"""The large field of view heads against convolutions written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.segmentors import LargeFOVHead


def make(**kwargs) -> LargeFOVHead:
    config = dict(
        type='LargeFOVHead', in_channels=6, in_index=1, channels=4, num_classes=3,
        loss_decode=dict(type='mmseg.CrossEntropyLoss'), **kwargs,
    )  # fmt: skip
    head = build_as(MODELS, config, LargeFOVHead)
    head.init_weights()
    return head.double().eval()


@pytest.fixture
def features():
    maps = torch.randn(2, 6, 15, 29, dtype=torch.float64)
    return [torch.zeros(1), maps]


@pytest.mark.parametrize('rate', [12, 3])
def test_two_convolutions_of_one_rate(features, rate: int) -> None:
    head = make(dilation=rate)
    state = head.state_dict()
    assert sorted(state) == [
        'conv_seg.bias', 'conv_seg.weight', 'layers.0.conv.bias', 'layers.0.conv.weight',
    ]  # fmt: skip
    state['layers.0.conv.bias'].normal_()
    atrous = dict(padding=rate, dilation=rate)
    hidden = F.conv2d(
        features[1],
        state['layers.0.conv.weight'],
        state['layers.0.conv.bias'],
        **atrous,
    )
    wanted = F.conv2d(
        F.relu(hidden), state['conv_seg.weight'], state['conv_seg.bias'], **atrous
    )
    assert wanted.shape == (2, 3, 15, 29)
    torch.testing.assert_close(head(features), wanted)


def test_with_norms(features) -> None:
    head = make(form='seam')
    for layer in head.layers:
        layer.bn.running_mean.normal_()
        layer.bn.running_var.uniform_(0.5, 2)
    x = features[1]
    for layer, rate in zip(head.layers, (12, 0), strict=True):
        x = F.conv2d(x, layer.conv.weight, None, padding=rate, dilation=rate or 1)
        x = F.batch_norm(
            x,
            layer.bn.running_mean,
            layer.bn.running_var,
            layer.bn.weight,
            layer.bn.bias,
        )
        x = F.relu(x)
    wanted = F.conv2d(x, head.conv_seg.weight, head.conv_seg.bias)
    torch.testing.assert_close(head(features), wanted)
    assert head.dropout.p == 0.5


def test_initial_weights_are_xaviers() -> None:
    weight = make().layers[0].conv.weight
    bound = (6 / (9 * (6 + 4))) ** 0.5
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)


def test_refuses_another_form() -> None:
    with pytest.raises(ConfigError, match="did you mean 'seam'"):
        make(form='seem')
