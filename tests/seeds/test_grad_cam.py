"""GradCAM: against autograd by hand, against CAM, on each CNN, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.backbones import (
    CNNBackbone,
    TimmCNN,
    VGG16LargeFOV,
    WideResNet38,
    capture,
)
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.seeds import CAM, AttributeCAM, GradCAM, MultiScaleFlip

LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]])
HEAD = dict(type='TokenHead', num_classes=5, sources=('patch',))


@pytest.fixture
def images():
    return torch.randn(2, 3, 40, 56, dtype=torch.float64)


def resnet18():
    return TimmCNN('test_resnet.r160_in1k', 8)


def cnn(pool_fraction=1.0, backbone=None):
    head = dict(HEAD, pool_fraction=pool_fraction)
    model = WSSSClassifier(backbone=backbone or resnet18(), head=head)
    return model.double().eval()


def test_on_average_pooling_it_is_cam(images) -> None:
    """The weights are those of the class, over the number of places; no bias."""
    model = cnn()
    ones = torch.ones_like(LABELS)
    cam = CAM().signed_maps(model, images, ones)
    cam = (cam - model.head.fc.bias[:, None, None]).detach()
    found = GradCAM().signed_maps(model, images, ones)
    torch.testing.assert_close(found * cam[0, 0].numel(), cam)
    assert (GradCAM()(model, images, LABELS) >= 0).all()


def by_hand(model, features, logits):
    """One backward pass for each image and class, loops over channels."""
    maps = []
    for n in range(2):
        for c in range(5):
            (g,) = torch.autograd.grad(logits[n, c], features, retain_graph=True)
            parts = [g[n, d].mean() * features[n, d].detach() for d in range(len(g[n]))]
            maps.append(sum(parts))
    return torch.stack(maps).unflatten(0, (2, 5))


def test_on_top_pooling_by_hand(images) -> None:
    model = cnn(0.2)
    features = model.backbone(images).patch
    tokens = model.backbone(images)
    tokens = type(tokens)(tokens.prefix, features)
    expected = by_hand(model, features, model.class_logits(tokens))
    found = GradCAM().signed_maps(model, images, torch.ones_like(LABELS))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('prefix', [1, 2])
@pytest.mark.parametrize('block', [None, -2, 0])
def test_between_blocks_by_hand(block, prefix, tiny_classifier) -> None:
    model = tiny_classifier(prefix=prefix).double().eval()
    images = torch.randn(2, 3, 24, 40, dtype=torch.float64)
    with capture(model.backbone, images, attention=False) as trace:
        hidden = trace.hidden[1 if block is None else block % 3]
        logits = model.class_logits(trace.tokens)
        maps = []
        for n in range(2):
            for c in range(5):
                (g,) = torch.autograd.grad(logits[n, c], hidden, retain_graph=True)
                weights = g[n, prefix:].mean(0)
                maps.append((hidden[n, prefix:].detach() @ weights).reshape(3, 5))
    expected = torch.stack(maps).unflatten(0, (2, 5))
    assert expected.abs().max() > 0
    found = GradCAM(block).signed_maps(model, images, torch.ones_like(LABELS))
    torch.testing.assert_close(found, expected)


def test_of_patch_logits_on_a_transformer(tiny_classifier) -> None:
    vit = tiny_classifier().backbone
    model = WSSSClassifier(backbone=vit, head=HEAD).double().eval()
    images = torch.randn(2, 3, 24, 40, dtype=torch.float64)
    tokens = vit(images)
    expected = by_hand(model, tokens.patch, model.class_logits(tokens))
    found = GradCAM().signed_maps(model, images, torch.ones_like(LABELS))
    torch.testing.assert_close(found, expected)


BACKBONES = {
    'resnet50': lambda: TimmCNN('resnet50', 16),
    'resnet38': lambda: CNNBackbone(WideResNet38(base_channels=2, norm_eval=False)),
    'vgg16': lambda: CNNBackbone(VGG16LargeFOV(base_channels=2, fc_channels=6)),
    'timm_vgg16': lambda: TimmCNN('vgg16', 16),
}


@pytest.mark.parametrize('head', [CAM(), GradCAM()], ids=lambda h: type(h).__name__)
@pytest.mark.parametrize('name', BACKBONES)
def test_each_cnn_from_image_to_maps(name, head) -> None:
    """Any size, several scales, the mirrored image, batch norm at rest, nothing left."""
    model = cnn(backbone=BACKBONES[name]()).float().train()
    images, labels = torch.randn(2, 3, 37, 50), LABELS
    found = MultiScaleFlip(head, (1.0, 1.5))(model, images, labels)
    assert found.shape == (2, 5, 37, 50) and found.isfinite().all()
    assert (found[labels == 0] == 0).all() and (found[labels == 1] > 0).any()
    assert model.training and all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize('side', [8, 9, 16, 40, 64, 321])
def test_the_grid_of_large_fov(side) -> None:
    """Its pooling adds a row at multiples of the stride, which other networks do not."""
    backbone = BACKBONES['vgg16']()
    images = torch.zeros(1, 3, side, 24)
    assert backbone(images).patch.shape[2:] == (side // 8 + 1, 4)
    assert BACKBONES['resnet38']().grid(images) == ((side + 7) // 8, 3)


def test_a_frozen_network_will_do(images) -> None:
    model = cnn()
    expected = GradCAM()(model, images, LABELS)
    model.backbone.requires_grad_(False)
    torch.testing.assert_close(GradCAM()(model, images, LABELS), expected)


def test_what_is_refused(images, tiny_classifier, tiny_ex_vit) -> None:
    model, small = tiny_classifier().double(), images[..., :24, :40]
    with pytest.raises(ConfigError, match='have no gradient there: give block 1'):
        GradCAM(-1)(model, small, LABELS)
    with pytest.raises(ConfigError, match=r'blocks 0 to 2 .* not 3'):
        GradCAM(3)(model, small, LABELS)
    with pytest.raises(UserError, match='TimmCNN does not show the tokens between'):
        GradCAM(-2)(cnn(), images, LABELS)
    attributes = tiny_ex_vit().double()
    with pytest.raises(ConfigError, match='give block=-1, or take AttributeCAM'):
        GradCAM()(attributes, small, LABELS)
    assert (GradCAM(-1)(attributes, small, LABELS)[LABELS == 1] > 0).any()
    assert (AttributeCAM()(attributes, small, LABELS)[LABELS == 1] > 0).any()
