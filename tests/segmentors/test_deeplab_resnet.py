"""DeepLab's ResNet: weights in two naming schemes, and what stays frozen."""

from __future__ import annotations

import pytest
import torch
from mmseg.models.backbones import ResNet
from safetensors.torch import save_file
from torch import nn

from wsss_plugins.errors import CheckpointError
from wsss_plugins.segmentors import DeepLabResNet
from wsss_plugins.segmentors.resnet import torchvision_names

SMALL = dict(
    depth=50, stem_channels=4, base_channels=4, strides=(1, 2, 1, 1),
    dilations=(1, 1, 2, 4), out_indices=(3,),
)  # fmt: skip
PORT = {'1': 'reduce', '2': 'conv3x3', '3': 'increase'}


def port_name(name: str) -> str:
    """The name in the port of a weight of torchvision's ResNet."""
    parts = name.split('.')
    if len(parts) == 2:  # the stem
        return f'layer1.conv1.{parts[0][:-1]}.{parts[1]}'
    layer, block, place, *rest = parts
    if place == 'downsample':
        place, rest = f'shortcut.{"bn" if rest[0] == "1" else "conv"}', rest[1:]
    else:
        place = f'{PORT[place[-1]]}.{place[:-1]}'
    here = f'layer{int(layer[-1]) + 1}.block{int(block) + 1}'
    return '.'.join([here, place, *rest])


def test_every_name_of_the_port_is_known() -> None:
    with torch.device('meta'):
        names = list(ResNet(depth=101).state_dict())
    assert len(names) == 624
    ported = {port_name(name): torch.empty(0) for name in names}
    assert len(ported) == len(names)
    assert list(torchvision_names(ported)) == names
    assert list(torchvision_names({f'base.{n}': v for n, v in ported.items()})) == names
    assert 'layer4.block23.conv3x3.conv.weight' in ported


def test_leaves_other_names_alone() -> None:
    same = dict.fromkeys(
        ('layer1.0.conv1.weight', 'fc.weight', 'aspp.c0.bias', 'layer2.conv1.weight'),
        torch.empty(0),
    )
    assert torchvision_names(same) == same


@pytest.mark.parametrize('ported', [False, True])
def test_loads_and_keeps_its_weights(tmp_path, ported: bool) -> None:
    """mmseg's ResNet would set the last norm of every block to 0 when training begins."""
    trained = ResNet(**SMALL)
    trained.init_weights()
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 2)
            module.running_mean.normal_()
    weights = {n: v.clone() for n, v in trained.state_dict().items()}
    path = tmp_path / 'resnet.safetensors'
    named = {port_name(n): v for n, v in weights.items()} if ported else weights
    save_file(named, path)
    net = DeepLabResNet(**SMALL, pretrained=str(path))
    net.init_weights()
    found = net.state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    trained.eval()
    net.eval()
    images = torch.randn(1, 3, 33, 49)  # the pooling of odd sizes does not round
    assert torch.equal(net(images)[0], trained(images)[0])


def test_frozen_norms_stay(tmp_path) -> None:
    norms = dict(norm_eval=True, norm_cfg=dict(type='BN', requires_grad=False))
    net = DeepLabResNet(**SMALL, **norms)
    net.init_weights()
    net.train()
    before = {n: v.clone() for n, v in net.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    net(torch.randn(2, 3, 32, 48))[0].square().mean().backward()
    optimizer.step()
    changed = {n for n, v in net.state_dict().items() if not torch.equal(v, before[n])}
    assert changed and all('bn' not in name for name in changed)
    assert not any('downsample.1' in name for name in changed)


def test_refuses_other_weights(tmp_path) -> None:
    path = tmp_path / 'other.safetensors'
    save_file({'features.0.weight': torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match='another model than DeepLabResNet'):
        DeepLabResNet(**SMALL, pretrained=str(path))
