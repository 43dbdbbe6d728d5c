"""VGG16 with a large field of view, against a plain reading of its definition."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from wsss_plugins.backbones import VGG16LargeFOV
from wsss_plugins.backbones.vgg16 import thin_fc
from wsss_plugins.errors import CheckpointError, ConfigError

SMALL = dict(base_channels=2, fc_channels=6)


def reference(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """The forward pass, layer by layer as the published network lists them."""

    def conv(x: Tensor, name: str, rate: int = 1) -> Tensor:
        weight, bias = weights[f'{name}.weight'], weights[f'{name}.bias']
        return F.relu(F.conv2d(x, weight, bias, 1, rate, rate))

    def pool(x: Tensor, stride: int) -> Tensor:
        return F.max_pool2d(x, 3, stride, 1, ceil_mode=True)

    x = images
    for layers in ((0, 2), (5, 7), (10, 12, 14)):
        for i in layers:
            x = conv(x, f'features.{i}')
        x = pool(x, 2)
    for i in (17, 19, 21):
        x = conv(x, f'features.{i}')
    x = pool(x, 1)
    for i in (24, 26, 28):
        x = conv(x, f'features.{i}', 2)
    x = F.avg_pool2d(pool(x, 1), 3, 1, 1)
    x = conv(x, 'fc6', 12)
    return F.relu(F.conv2d(x, weights['fc7.weight'], weights['fc7.bias']))


def test_equals_the_definition() -> None:
    net = VGG16LargeFOV(**SMALL).double().eval()
    images = torch.randn(2, 3, 41, 70, dtype=torch.float64)
    (out,) = net(images)
    assert out.shape == (2, 6, 6, 10)
    wanted = reference(net.state_dict(), images)
    assert wanted.std() > 0.01
    torch.testing.assert_close(out, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(('side', 'cells'), [(321, 41), (320, 41), (500, 64), (1, 1)])
def test_stride_is_eight_and_rounds_up(side: int, cells: int) -> None:
    (out,) = VGG16LargeFOV(**SMALL).eval()(torch.zeros(1, 3, side, 9))
    assert out.shape == (1, 6, cells, 2)


def test_arguments_change_what_they_say() -> None:
    images = torch.randn(1, 3, 33, 49)
    net = VGG16LargeFOV(**SMALL).eval()
    (before,) = net(images)
    for changes in (dict(dilation=4), dict(average_pool=False)):
        other = VGG16LargeFOV(**SMALL, **changes).eval()
        other.load_state_dict(net.state_dict())
        assert not torch.allclose(other(images)[0], before)
    torch.manual_seed(1)
    (dropped,) = net.train()(images)
    assert (dropped == 0).float().mean() > (before == 0).float().mean() + 0.05
    sure = VGG16LargeFOV(**SMALL, dropout=0.0)
    sure.load_state_dict(net.state_dict())
    assert torch.equal(sure.train()(images)[0], before)


def test_has_the_names_and_sizes_of_the_published_network() -> None:
    with torch.device('meta'):
        ours = VGG16LargeFOV().state_dict()
        theirs = timm.create_model('vgg16').state_dict()
    names = [name for name in ours if name.startswith('features.')]
    assert len(names) == 26
    assert all(ours[name].shape == theirs[name].shape for name in names)
    assert {name for name in theirs if 'features' in name} == set(names)
    assert ours['fc6.weight'].shape == (1024, 512, 3, 3)
    assert ours['fc7.weight'].shape == (1024, 1024, 1, 1)
    assert {'pre_logits.fc1.weight', 'pre_logits.fc2.weight'} <= set(theirs)


def imagenet_weights(timm_names: bool) -> dict[str, Tensor]:
    """A small VGG16 as torchvision or timm would save it, 24 units in fc6 and fc7."""
    net = VGG16LargeFOV(**SMALL)
    weights = {n: v.clone() for n, v in net.state_dict().items() if 'features' in n}
    sizes = {0: (24, 16 * 49), 3: (24, 24), 6: (10, 24)}
    for i, shape in sizes.items():
        weights[f'classifier.{i}.weight'] = torch.randn(shape)
        weights[f'classifier.{i}.bias'] = torch.randn(shape[0])
    if timm_names:
        for i, name, kernel in ((0, 'fc1', 7), (3, 'fc2', 1)):
            full = weights.pop(f'classifier.{i}.weight')
            weights[f'pre_logits.{name}.weight'] = full.reshape(24, -1, kernel, kernel)
            weights[f'pre_logits.{name}.bias'] = weights.pop(f'classifier.{i}.bias')
    return weights


@pytest.mark.parametrize('timm_names', [False, True])
def test_loads_and_thins_the_classifier(tmp_path, timm_names: bool) -> None:
    weights = imagenet_weights(timm_names)
    path = tmp_path / 'vgg16.safetensors'
    save_file(weights, path)
    net = VGG16LargeFOV(**SMALL, pretrained=str(path))
    assert torch.equal(net.features[28].weight, weights['features.28.weight'])
    keys = ('pre_logits.fc1', 'pre_logits.fc2')
    if not timm_names:
        keys = ('classifier.0', 'classifier.3')
    full = weights[f'{keys[0]}.weight'].reshape(24, 16, 7, 7)
    for o in range(6):
        for row in range(3):
            kernel = full[4 * o, :, 3 * row, [0, 3, 6]]
            assert torch.equal(net.fc6.weight[o, :, row], kernel)
        assert net.fc6.bias[o] == weights[f'{keys[0]}.bias'][4 * o]
        row = weights[f'{keys[1]}.weight'].reshape(24, 24)[4 * o]
        assert torch.equal(net.fc7.weight[o, :, 0, 0], row[[0, 4, 8, 12, 16, 20]])


def test_fresh_layers_where_asked_for(tmp_path) -> None:
    weights = imagenet_weights(timm_names=False)
    path = tmp_path / 'vgg16.safetensors'
    save_file(weights, path)
    net = VGG16LargeFOV(**SMALL, pretrained=str(path), convert_fc=False)
    assert torch.equal(net.features[0].weight, weights['features.0.weight'])
    assert (net.fc6.bias == 0).all()
    save_file({k: v for k, v in weights.items() if 'features' in k}, path)
    net = VGG16LargeFOV(**SMALL, pretrained=str(path))
    assert (net.fc6.bias == 0).all(), 'a file without a classifier is enough'


def test_refuses_what_does_not_fit(tmp_path) -> None:
    with pytest.raises(CheckpointError, match='cannot be thinned to'):
        thin_fc(torch.zeros(4, 49), torch.zeros(4), (6, 1, 3, 3))
    path = tmp_path / 'other.safetensors'
    save_file({'conv1.weight': torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match='another model than VGG16LargeFOV'):
        VGG16LargeFOV(**SMALL, pretrained=str(path))
    with pytest.raises(ConfigError, match='>= 1, not 64, 1024 and 0'):
        VGG16LargeFOV(dilation=0)
