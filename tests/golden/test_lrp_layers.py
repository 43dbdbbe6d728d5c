"""Every single-layer rule of the original code, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from wsss_plugins.lrp import (
    Add,
    AlphaBeta,
    AttentionValue,
    BatchNormRatio,
    ConservingSum,
    Fork,
    QueryKey,
    Ratio,
    Select,
    ZBox,
    safe_inverse,
)
from wsss_plugins.seeds.relevance import spread_class_token
from wsss_plugins.seeds.rollout import rollout


class Cat(nn.Module):
    """Joins sequences of tokens; timm's transformer does it before the first block."""

    def forward(self, *parts):
        return torch.cat(parts, 1)


class AddEye(nn.Module):
    def forward(self, x):
        return x + torch.eye(x.shape[-1], dtype=x.dtype)


def weighted(kind, arrays, name, **kwargs):
    """A layer of ``kind`` with the golden's weight and bias."""
    weight, bias = (torch.from_numpy(arrays[f'{name}/{k}']) for k in 'Wb')
    channels = weight.shape[1], weight.shape[0]
    layer = kind(*channels, *([weight.shape[2]] if weight.ndim == 4 else []), **kwargs)
    layer.weight.data, layer.bias.data = weight, bias
    return layer


def batch_norm(arrays):
    layer = nn.BatchNorm2d(4).double().eval()
    for key in ('weight', 'bias', 'running_mean', 'running_var'):
        getattr(layer, key).data = torch.from_numpy(arrays[f'batchnorm2d/{key}'])
    return layer


def case(name, arrays, rules, alpha):
    """The layer and the rule of one array."""
    joint = rules == 'ours'
    if name == 'linear':
        return weighted(nn.Linear, arrays, name), AlphaBeta(alpha, joint)
    if name == 'conv2d_3ch':
        return weighted(nn.Conv2d, arrays, name, stride=4), ZBox()
    if name == 'conv2d_5ch':
        layer = weighted(nn.Conv2d, arrays, name, stride=2, padding=1)
        return layer, AlphaBeta(alpha, joint=False)
    if name in ('add1', 'add2'):
        return Add(), ConservingSum() if joint else Ratio()
    if name == 'batchnorm2d':
        return batch_norm(arrays), BatchNormRatio()
    layers = {
        'einsum_qk': QueryKey(),
        'einsum_av': AttentionValue(),
        'index_select': Select(1),
        'clone': Fork(),
        'cat': Cat(),
        'maxpool2d': nn.MaxPool2d(2),
        'avgpool2d': nn.AvgPool2d(2),
        'adaptiveavgpool2d': nn.AdaptiveAvgPool2d(3),
        'addeye': AddEye(),
    }
    return layers[name], Ratio()


LAYERS = (
    'linear',
    'conv2d_3ch',
    'conv2d_5ch',
    'add1',
    'add2',
    'einsum_qk',
    'einsum_av',
    'index_select',
    'clone',
    'cat',
    'batchnorm2d',
    'maxpool2d',
    'avgpool2d',
    'adaptiveavgpool2d',
    'addeye',
)


def numbered(arrays, prefix):
    """The arrays ``prefix``, or ``prefix0``, ``prefix1`` ... as tensors."""
    keys = sorted(
        k for k in arrays if k == prefix or (k[:-1] == prefix and k[-1].isdigit())
    )
    return [torch.from_numpy(arrays[key]) for key in keys]


@pytest.mark.parametrize('alpha', [1, 2])
@pytest.mark.parametrize('rules', ['ours', 'orig'])
@pytest.mark.parametrize('name', LAYERS)
def test_lrp_layer(golden, name, rules, alpha):
    arrays = golden('layers')
    layer, rule = case(name, arrays, rules, alpha)
    share = rule(layer, *numbered(arrays, f'{name}/X'))
    found = share(*numbered(arrays, f'{name}/R'))
    expected = numbered(arrays, f'{name}/{rules}/alpha{alpha}/out')
    assert len(found) == len(expected) > 0
    for got, want in zip(found, expected, strict=True):
        atol = 1e-12 * want.abs().max().item()
        torch.testing.assert_close(got.detach(), want, rtol=1e-9, atol=atol)


def test_lrp_layers_are_all_compared(golden):
    named = {k.split('/')[0] for k in golden('layers')}
    assert named - {'safe_divide', 'rollout'} == set(LAYERS)


@pytest.mark.parametrize('kind', ['f64', 'f32'])
def test_lrp_safe_divide(golden, kind):
    arrays = golden('layers')
    dtype = np.float64 if kind == 'f64' else np.float32
    a, b = (arrays[f'safe_divide/{k}'].astype(dtype) for k in 'ab')
    got = torch.from_numpy(a) * safe_inverse(torch.from_numpy(b))
    want = arrays[f'safe_divide/{kind}']
    np.testing.assert_allclose(got, want, rtol=1e-12 if kind == 'f64' else 1e-6)


@pytest.mark.parametrize('start', [0, 1, 3])
def test_lrp_rollouts(golden, start):
    arrays = golden('layers')
    blocks = torch.from_numpy(arrays['rollout/mats'])  # (L, N, T, T)
    want = arrays[f'rollout/normalised_generator/start{start}']
    np.testing.assert_allclose(rollout(blocks[start:]), want, rtol=1e-12)
    want = arrays[f'rollout/unnormalised_ViT_LRP/start{start}']
    got = spread_class_token(blocks[start:].flip(0), blocks[0])
    np.testing.assert_allclose(got, want[:, 0], rtol=1e-12)
