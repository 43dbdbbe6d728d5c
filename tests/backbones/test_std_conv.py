"""Standardised convolution of the released code, beside timm's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.layers import StdConv2d, StdConv2dSame
from torch import nn

from wsss_plugins.backbones import TimmViT
from wsss_plugins.backbones.std_conv import DeviationConv2d, divide_by_deviation
from wsss_plugins.errors import ConfigError


@pytest.mark.parametrize('kind', [StdConv2d, StdConv2dSame])
@pytest.mark.parametrize('stride, groups', [(1, 1), (2, 1), (1, 2)])
def test_by_its_formula(kind, stride, groups) -> None:
    conv = kind(4, 6, 3, stride=stride, groups=groups, bias=True).double()
    conv.weight.data *= 1e-3  # so that the epsilon counts
    ours = DeviationConv2d(conv, 1e-5)
    x = torch.randn(2, 4, 7, 10, dtype=torch.float64)
    weight = conv.weight.detach().numpy()
    plain = nn.Conv2d(4, 6, 3, stride, conv.padding, groups=groups).double()
    plain.bias = conv.bias
    flat = weight.reshape(6, -1)
    flat = (flat - flat.mean(1, keepdims=True)) / (
        flat.std(1, keepdims=True, ddof=0) + 1e-5
    )
    plain.weight.data = torch.from_numpy(flat.reshape(weight.shape))
    if kind is StdConv2dSame:  # as TensorFlow pads: more below and right
        rows, columns = (
            max(0, (-(-n // stride) - 1) * stride + 3 - n) for n in x.shape[2:]
        )
        plain.padding = 0
        padded = nn.functional.pad(
            x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        )
    else:
        padded = x
    torch.testing.assert_close(ours(x), plain(padded), rtol=1e-10, atol=1e-12)
    assert ours(x).shape == conv(x).shape
    assert (ours(x) - conv(x)).abs().max() > 1e-3


def test_without_epsilon_it_is_that_of_timm() -> None:
    conv = StdConv2dSame(3, 5, 7, stride=2, eps=1e-30).double()
    x = torch.randn(1, 3, 20, 33, dtype=torch.float64)
    torch.testing.assert_close(DeviationConv2d(conv, 1e-30)(x), conv(x))


def test_gradient_also_of_constant_weights() -> None:
    conv = StdConv2d(2, 3, 3).double()
    ours = DeviationConv2d(conv, 1e-2)
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)

    def run(weight: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(ours, {'weight': weight}, (x,))

    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (weight,))
    flat = torch.ones(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    run(flat).sum().backward()
    assert flat.grad.isfinite().all()


def test_names_of_the_weights_stay() -> None:
    net = nn.Sequential(nn.Sequential(StdConv2dSame(3, 4, 3)), nn.ReLU())
    before = net.state_dict()
    divide_by_deviation(net, 1e-5)
    assert isinstance(net[0][0], DeviationConv2d)
    after = net.state_dict()
    assert list(before) == list(after)
    assert all(before[k].data_ptr() == after[k].data_ptr() for k in before)


def test_a_hybrid_by_argument() -> None:
    vit = TimmViT('vit_tiny_r_s16_p8_224', std_eps=1e-5, depth=1).eval()
    plain = TimmViT('vit_tiny_r_s16_p8_224', depth=1).eval()
    plain.load_state_dict(vit.state_dict(), strict=True)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours, timms = vit(images).patch, plain(images).patch
    assert ours.shape == timms.shape
    assert 0 < (ours - timms).abs().max() < 0.1
    kinds = [m for m in vit.modules() if isinstance(m, DeviationConv2d)]
    assert kinds and all(m.eps == 1e-5 for m in kinds)
    assert not [m for m in vit.modules() if isinstance(m, StdConv2dSame)]


@pytest.mark.parametrize(
    'eps, message',
    [
        (0.0, 'std_eps must be above 0 (1e-5 in the released ACR code), or None for'),
        (np.nan, 'std_eps must be above 0'),
        (
            1e-5,
            'std_eps is for hybrids, such as vit_base_r50_s16_384: this model has no',
        ),
    ],
)
def test_mistakes(eps, message) -> None:
    small = dict(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=3)
    with pytest.raises(ConfigError) as error:
        TimmViT(std_eps=eps, **small)
    assert str(error.value).startswith(message) and '\n' not in str(error.value)
