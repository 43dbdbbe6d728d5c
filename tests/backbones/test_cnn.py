"""CNNs as backbones: maps by hand, strides, weights, what is frozen and what is refused."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsss_plugins.backbones import (
    CNNBackbone,
    TimmCNN,
    TokenBackbone,
    WideResNet38,
    capture,
    capture_relevance,
)
from wsss_plugins.errors import CheckpointError, ConfigError, DataError, UserError
from wsss_plugins.lrp import COMPOSITES
from wsss_plugins.registry import MODELS, build_as

TINY = 'test_resnet.r160_in1k'
CONVNEXT = 'test_convnext.r160_in1k'
RESNET38 = dict(type='WideResNet38', base_channels=2, norm_eval=False)
BACKBONES = {
    'resnet-8': (dict(type='TimmCNN', name=TINY, output_stride=8), 96, 8),
    'resnet-16': (dict(type='TimmCNN', name=TINY), 96, 16),
    'resnet-32': (dict(type='TimmCNN', name=TINY, output_stride=32), 96, 32),
    'vgg16': (dict(type='TimmCNN', name='vgg11'), 512, 16),
    'resnet38': (dict(type='CNNBackbone', net=RESNET38), 128, 8),
}


SLOW = {'vgg16'}
PARAMS = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
    for name in BACKBONES
]


@pytest.fixture(params=PARAMS)
def case(request):
    return BACKBONES[request.param]


def test_one_map_of_the_stride(case) -> None:
    cfg, channels, stride = case
    backbone = build_as(MODELS, cfg, TokenBackbone).double().eval()
    assert (backbone.embed_dims, backbone.stride) == (channels, stride)
    assert backbone.num_prefix == 0 and backbone.attention_modules() == []
    images = torch.randn(2, 3, 32, 64, dtype=torch.float64)
    tokens = backbone(images)
    assert tokens.prefix.shape == (2, 0, channels)
    assert tokens.patch.shape == (2, channels, 32 // stride, 64 // stride)
    assert backbone.grid(images) == tuple(tokens.patch.shape[2:])
    alone = backbone(images[1:])
    torch.testing.assert_close(alone.patch, tokens.patch[1:])
    with capture(backbone, images, attention=False) as trace:
        torch.testing.assert_close(trace.tokens.patch, tokens.patch)
    assert trace.attn == [] and trace.grid == (32 // stride, 64 // stride)


@pytest.mark.parametrize('name', ['resnet18'])
def test_resnet_is_that_of_torchvision(name, tmp_path) -> None:
    """The same weights by the same names; the same map where nothing is dilated."""
    torchvision = pytest.importorskip('torchvision')
    other = torchvision.models.get_model(name).double().eval()
    save_file(other.state_dict(), tmp_path / 'weights.safetensors')
    own = TimmCNN(name, 32, str(tmp_path / 'weights.safetensors')).double().eval()
    assert own.report and not own.report.missing and not own.report.other_shape
    assert {k.split('.')[0] for k in own.report.unexpected} == {'fc'}
    images = torch.randn(1, 3, 65, 97, dtype=torch.float64)
    x = other.maxpool(other.relu(other.bn1(other.conv1(images))))
    expected = other.layer4(other.layer3(other.layer2(other.layer1(x))))
    torch.testing.assert_close(own(images).patch, expected)
    assert own.grid(images) == (3, 4), 'rounded up'


@pytest.mark.slow
def test_vgg16_ends_at_conv5_3(tmp_path) -> None:
    """torchvision's layers 0 to 29, the last pooling left out."""
    vgg = pytest.importorskip('torchvision').models.vgg
    features = vgg.make_layers(vgg.cfgs['D'])
    weights = {f'features.{k}': v for k, v in features.state_dict().items()}
    save_file(weights, tmp_path / 'weights.safetensors')
    own = TimmCNN('vgg16', pretrained=str(tmp_path / 'weights.safetensors')).eval()
    assert own.report and not own.report.missing and not own.report.unexpected
    images = torch.randn(1, 3, 32, 64)
    torch.testing.assert_close(own(images).patch, features[:30](images))


def test_resnet38_is_wrapped_not_copied() -> None:
    own = build_as(MODELS, dict(type='CNNBackbone', net=RESNET38), CNNBackbone)
    assert isinstance(own.net, WideResNet38)
    own.eval().double()
    images = torch.randn(1, 3, 27, 43, dtype=torch.float64)
    torch.testing.assert_close(own(images).patch, own.net(images)[2])
    first = CNNBackbone(own.net, index=0)
    torch.testing.assert_close(first(images).patch, own.net(images)[0])
    assert first.embed_dims == 16


def test_any_network_with_one_map() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.AvgPool2d(2, ceil_mode=True))
    own = CNNBackbone(net).double()
    assert (own.embed_dims, own.stride) == (5, 4)
    images = torch.randn(2, 3, 16, 28, dtype=torch.float64)
    expected = F.avg_pool2d(F.conv2d(images, net[0].weight, net[0].bias, 2, 1), 2)
    torch.testing.assert_close(own(images).patch, expected)


def test_weights_of_a_classifier_of_ours(tmp_path) -> None:
    first, second = TimmCNN(TINY), TimmCNN(TINY)
    path = str(tmp_path / 'weights.safetensors')
    save_file({f'backbone.{k}': v for k, v in first.state_dict().items()}, path)
    second = TimmCNN(TINY, pretrained=path)
    assert second.report and len(second.report.loaded) == len(first.state_dict())
    assert all(
        torch.equal(v, first.state_dict()[k]) for k, v in second.state_dict().items()
    )
    before = {k: v.clone() for k, v in second.state_dict().items()}
    second.init_weights()
    assert all(torch.equal(v, before[k]) for k, v in second.state_dict().items())


def test_frozen_parts_and_batch_norms(tmp_path) -> None:
    """One step in training mode changes what is not frozen, and nothing else."""
    backbone = TimmCNN(TINY, norm_eval=True, frozen=('conv1', 'layer1')).train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    norms = [m for m in backbone.modules() if isinstance(m, _BatchNorm)]
    assert norms and not any(m.training for m in norms)
    backbone(torch.randn(2, 3, 32, 32)).patch.square().mean().backward()
    for p in backbone.parameters():
        if p.grad is not None:
            p.data -= p.grad
    moved = {
        k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])
    }
    assert {k.split('.')[1] for k in moved} == {'layer2', 'layer3', 'layer4'}
    kinds = {type(backbone.get_submodule(k.rpartition('.')[0])) for k in moved}
    assert kinds == {nn.Conv2d}
    free = TimmCNN(TINY).train()
    assert all(m.training for m in free.modules())
    assert all(p.requires_grad for p in free.parameters())
    path = tmp_path / 'weights.safetensors'
    save_file(free.net.state_dict(), path)
    assert TimmCNN(TINY, pretrained=str(path)).norm_eval, 'where weights are given'
    assert not TimmCNN(TINY, pretrained=str(path), norm_eval=False).norm_eval


def test_weights_of_timm_are_asked_for_once(monkeypatch) -> None:
    create, asked = timm.create_model, []

    def offline(name: str, pretrained: bool, **kwargs: object) -> nn.Module:
        asked.append(pretrained)
        if pretrained:
            raise OSError('no network')
        return create(name, **kwargs)

    monkeypatch.setattr(timm, 'create_model', offline)
    monkeypatch.setattr('wsss_plugins.backbones.timm_weights.answers', lambda _: True)
    with pytest.raises(CheckpointError) as error:
        TimmCNN(TINY, pretrained=True)
    assert str(error.value) == (
        f'the timm weights of {TINY} could not be downloaded: fetch them where there is '
        'a network and give the file as the weights (pretrained=FILE)'
    )
    assert asked == [True]
    TimmCNN(TINY)
    assert asked == [True, False]


MISTAKES = [
    (
        dict(type='TimmCNN', name='resnet5'),
        "timm has no model 'resnet5': did you mean ",
    ),
    (
        dict(type='TimmCNN', name=TINY, output_stride=4),
        'output_stride must be one of (8, 16, 32), not 4',
    ),
    (
        dict(type='TimmCNN', name=CONVNEXT, output_stride=8, frozen=['stm_0']),
        f"{CONVNEXT} has no part 'stm_0' to freeze: did you mean 'stem_0'?",
    ),
    (
        dict(type='CNNBackbone', net=nn.Sequential(nn.AdaptiveAvgPool2d(1))),
        'Sequential gives (1, 3, 1, 1) for an image of 64x64, not a feature map',
    ),
    (
        dict(type='CNNBackbone', net=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())),
        'Sequential gives (1, 3) for an image of 64x64, not a feature map',
    ),
]  # fmt: skip


@pytest.mark.parametrize('cfg, message', MISTAKES)
def test_mistakes(cfg, message) -> None:
    with pytest.raises(ConfigError) as error:
        build_as(MODELS, cfg, TokenBackbone)
    assert str(error.value).startswith(message) and '\n' not in str(error.value)


def test_what_a_cnn_does_not_do() -> None:
    backbone, images = TimmCNN(CONVNEXT).eval(), torch.randn(1, 3, 32, 40)
    with pytest.raises(DataError) as wrong_size:
        backbone(images)
    assert str(wrong_size.value) == (
        f'{CONVNEXT} gives a map of 2x2 for images of 32x40, not of 2x3 as its stride '
        '16 says: resize both sides to multiples of 16'
    )
    with pytest.raises(ConfigError) as dropped:
        backbone(images, torch.zeros(1, 1).long())
    assert str(dropped.value) == (
        f'{CONVNEXT} computes its whole map at once: set drop_patches=0'
    )
    with pytest.raises(UserError) as seen, capture(backbone, images[..., :32]):
        pass
    assert str(seen.value) == (
        'TimmCNN has no attention: take a vision transformer, such as TimmViT'
    )
    chefer = COMPOSITES['chefer']
    with (
        pytest.raises(UserError, match='TimmCNN does not offer its operations one by'),
        capture_relevance(backbone, images[..., :32], chefer),
    ):
        pass
