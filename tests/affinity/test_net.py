"""AffinityNet and the affinities of its features."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from training_models import Maps

from wsss_plugins.affinity import (
    AffinityNet,
    FeatureSource,
    feature_affinities,
    pair_indices,
)
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import MODELS, build_as


def small_net(**kwargs) -> AffinityNet:
    settings = dict(in_channels=(4, 6, 8), channels=(4, 4, 8), stride=4, radius=3)
    return AffinityNet(Maps(), **(settings | kwargs))


def by_pairs(features: Tensor, radius: int) -> Tensor:
    """Every pair on its own, as the definition has it."""
    height, width = features.shape[-2:]
    source, target = pair_indices(height, width, radius, 'irn')
    flat = features.flatten(2)
    gap = (flat[:, :, source, None] - flat[:, :, target.T]).abs().mean(1)
    outside = (target.T < 0)[None]
    return gap.neg().exp().masked_fill(outside, 0).transpose(1, 2)


@pytest.mark.parametrize('radius', [2, 3, 5])
def test_affinities_and_gradient(radius: int) -> None:
    features = torch.randn(2, 3, 6, 9, dtype=torch.float64, requires_grad=True)
    ours = feature_affinities(features, radius).flatten(2)
    wanted = by_pairs(features, radius)
    torch.testing.assert_close(ours, wanted, rtol=0, atol=1e-14)
    weight = torch.randn_like(wanted)
    (grad,) = torch.autograd.grad((ours * weight).sum(), features)
    (wanted_grad,) = torch.autograd.grad((wanted * weight).sum(), features)
    torch.testing.assert_close(grad, wanted_grad, rtol=0, atol=1e-14)


def test_affinities_of_a_map_smaller_than_the_radius() -> None:
    features = torch.randn(1, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: feature_affinities(f, 5), features)


def test_is_a_feature_source() -> None:
    net = small_net()
    assert isinstance(net, FeatureSource)
    images = torch.randint(0, 256, (1, 3, 24, 40)).float()
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    torch.testing.assert_close(net.normalise(images), (images - mean) / std)
    assert net.features(net.normalise(images)).shape == (1, 16, 6, 10)
    assert net.features(torch.randn(1, 3, 25, 41)).shape == (1, 16, 7, 11)


@pytest.mark.parametrize('border', ['psa', 'irn'])
def test_modes(border: str) -> None:
    net = small_net(border=border).eval()
    images = torch.randn(2, 3, 24, 40)
    label = torch.randint(0, 3, (2, 6, 10))
    samples = [SegDataSample(gt_sem_seg=PixelData(data=each[None])) for each in label]
    losses = net(images, samples, mode='loss')
    assert set(losses) == {'loss_bg', 'loss_fg', 'loss_neg'}
    total = sum(losses.values())
    total.backward()
    assert all(p.grad is not None for p in net.parameters())
    features = net(images)
    source, _ = pair_indices(6, 10, 3, border)
    affinities = net(images, mode='predict')
    assert affinities.shape == (2, 12, len(source))
    wanted = by_pairs(features, 3)[..., source]
    torch.testing.assert_close(affinities, wanted)


def test_norm_and_choice_of_maps() -> None:
    net = small_net(in_channels=(8,), channels=(6,), in_index=(2,), groups=3)
    assert [type(layer) for layer in net.f8[0]] == [nn.Conv2d, nn.GroupNorm]
    features = net.features(torch.randn(1, 3, 32, 48))
    assert features.shape == (1, 6, 8, 12), 'upsampled from stride 8 to 4'


def test_learns_to_tell_halves_apart() -> None:
    """Left half of one class, right half background; nothing but colour tells."""
    net = small_net()
    images = torch.full((2, 3, 24, 40), -1.0)
    images[..., 20:] = 1
    images += 0.2 * torch.randn_like(images)
    label = torch.ones(2, 6, 10, dtype=torch.long)
    label[..., 5:] = 0
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    totals = []
    for _ in range(25):
        losses = net.loss(images, label)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.5 * totals[0]
    affinities = feature_affinities(net.features(images), 3)[0]
    across, along = affinities[0, :, 4].mean(), affinities[0, :, :3].mean()
    assert along > across + 0.3


def test_refuses_what_does_not_fit() -> None:
    for wrong in (dict(channels=(4, 4)), dict(in_index=(0,)), dict(stride=0)):
        with pytest.raises(ConfigError, match='AffinityNet needs stride'):
            small_net(**wrong)
    with pytest.raises(ConfigError, match='radius'):
        small_net(radius=1)
    with pytest.raises(ConfigError, match="border rule 'pas'"):
        small_net(border='pas')
    with pytest.raises(DataError, match=r'\(3, 5\).*\(6, 10\).*stride'):
        small_net().loss(torch.randn(1, 3, 24, 40), torch.zeros(1, 3, 5))
    with pytest.raises(DataError, match='no pixel pairs'):
        small_net(radius=9).loss(torch.randn(1, 3, 24, 40), torch.zeros(1, 6, 10))


def test_builds_from_a_config() -> None:
    stem = dict(
        type='TransformerStem', stem='conv', img_size=32, patch_size=8, embed_dim=16,
        depth=1, num_heads=2,
    )  # fmt: skip
    config = dict(
        type=AffinityNet, backbone=stem, in_channels=(4, 8, 16), channels=(4, 4, 4)
    )
    net = build_as(MODELS, config, AffinityNet).eval()
    images = torch.randn(1, 3, 40, 72)
    maps = net.backbone(images)
    assert [m.shape[1] for m in maps] == [4, 8, 16]
    taps = [F.interpolate(m, (5, 9), mode='bilinear') for m in maps]
    reduced = [F.elu(f8(tap)) for f8, tap in zip(net.f8, taps, strict=True)]
    expected = F.elu(net.f9(torch.cat(reduced, 1)))
    assert expected.shape == (1, 12, 5, 9)
    torch.testing.assert_close(net.features(images), expected)
