"""Class activation maps of CNNs, by their formula; the heads that refuse a CNN."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wsss_plugins.backbones import CNNBackbone, TimmCNN, TimmViT, WideResNet38
from wsss_plugins.classifiers import ACRClassifier, TokenHead, WSSSClassifier
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.registry import SEED_HEADS, build_as, plugin_names
from wsss_plugins.seeds import CAM, IntegratedGradients, MultiScaleFlip, SeedHead

TINY = 'test_resnet.r160_in1k'
LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]])
HEAD = dict(type='TokenHead', num_classes=5, sources=('patch',))


def classifier(**head: object) -> WSSSClassifier:
    model = WSSSClassifier(backbone=TimmCNN(TINY, 8), head={**HEAD, **head})
    model.head.patch_logits(model.backbone(torch.randn(1, 3, 32, 32)))
    return model.double().eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 40, 56, dtype=torch.float64)


def test_cam_is_a_convolution_of_the_features_with_the_class_weights(images) -> None:
    model = classifier()
    features = model.backbone.net(images)[-1]
    weight, bias = model.head.fc.weight, model.head.fc.bias
    maps = F.conv2d(features, weight[:, :, None, None], bias)
    expected = maps.clamp(min=0) * LABELS[:, :, None, None]
    cam = CAM()(model, images, LABELS)
    assert cam.shape == (2, 5, 5, 7) and (cam > 0).any()
    torch.testing.assert_close(cam, expected, rtol=1e-12, atol=1e-12)


def test_average_pooling_is_the_model_of_zhou_et_al(images) -> None:
    """The mean of the map is the logit of the pooled features; both are class_logits."""
    model = classifier(pool_fraction=1.0)
    tokens = model.backbone(images)
    pooled = model.backbone.net(images)[-1].mean((2, 3))
    expected = pooled @ model.head.fc.weight.T + model.head.fc.bias
    torch.testing.assert_close(model.class_logits(tokens), expected)
    torch.testing.assert_close(model(images)['patch'], expected)
    torch.testing.assert_close(model.head.scores(tokens), expected.sigmoid())


def test_of_wide_resnet38(images) -> None:
    net = WideResNet38(base_channels=2, norm_eval=False)
    model = WSSSClassifier(backbone=CNNBackbone(net), head=HEAD).double().eval()
    features = net(images)[2]
    expected = F.conv2d(features, model.head.fc.weight[..., None, None])
    expected = expected + model.head.fc.bias[:, None, None]
    cam = CAM().signed_maps(model, images, torch.ones_like(LABELS))
    torch.testing.assert_close(cam, expected, rtol=1e-12, atol=1e-12)


def test_several_scales_and_the_mirrored_image(images) -> None:
    """The mean of the maps of six copies; 1.4 times the sides are 56 and 80 whole cells."""
    model, cam = classifier(), CAM()
    run = MultiScaleFlip(cam, scales=(0.5, 1.0, 1.4), flip=True)
    maps = run(model, images, LABELS)
    expected = torch.zeros(2, 5, 40, 56, dtype=torch.float64)
    for sides in ((16, 32), (40, 56), (56, 80)):
        view = F.interpolate(images, sides, mode='bilinear')
        found = cam(model, view, LABELS) + cam(model, view.flip(-1), LABELS).flip(-1)
        expected += F.interpolate(found, (40, 56), mode='bilinear') / 6
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(run(model, images.flip(-1), LABELS), maps.flip(-1))
    assert maps[LABELS.bool()].any()


def test_every_weight_is_trained(images) -> None:
    model = classifier().train()
    losses = model.loss(images, LABELS.double())
    assert set(losses) == {'loss_patch'}
    losses['loss_patch'].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_integrated_gradients_sum_to_the_difference_of_the_logits(images) -> None:
    """A head that reads no attention, on a CNN."""
    model = classifier(pool_fraction=1.0)
    images = images[:, :, :24, :32]
    maps = IntegratedGradients(steps=60).signed_maps(model, images, LABELS)
    ends = [model.class_logits(model.backbone(x)) for x in (images, images * 0)]
    expected = ((ends[0] - ends[1]) * LABELS).detach()
    torch.testing.assert_close(maps.sum((2, 3)), expected, rtol=1e-2, atol=1e-3)


def heads() -> list[SeedHead]:
    names = plugin_names(SEED_HEADS)
    return [build_as(SEED_HEADS, dict(type=name), SeedHead) for name in names]


@pytest.mark.parametrize('head', heads(), ids=lambda head: type(head).__name__)
def test_heads_on_a_cnn(head, images) -> None:
    """Every seed head either makes maps of a CNN or says in one line why it cannot."""
    model = classifier()
    if not head.needs_attention:
        try:
            maps = head(model, images, LABELS)
        except UserError as error:  # it reads something else that a CNN has not
            assert type(head).__name__ in str(error) and '\n' not in str(error)
        else:
            assert maps.isfinite().all() and (maps[LABELS == 1] > 0).any()
        return
    with pytest.raises(ConfigError) as error:
        head(model, images, LABELS)
    assert str(error.value) == (
        f'{type(head).__name__} reads attention, and TimmCNN has none: take CAM, '
        'GradCAM, InputXGradient, IntegratedGradients'
    )
    assert not any(m._forward_hooks for m in model.modules())


@pytest.mark.parametrize('head', heads(), ids=lambda head: type(head).__name__)
def test_heads_that_read_no_attention_leave_it_fused(head, tiny_classifier) -> None:
    """And their maps are those of a pass that shows it."""
    model = tiny_classifier().double().eval()
    images = torch.randn(2, 3, 24, 40, dtype=torch.float64)
    seen = []
    block = model.backbone.vit.blocks[0]
    block.register_forward_pre_hook(lambda *_: seen.append(block.attn.fused_attn))
    try:
        maps = head(model, images, LABELS)
    except UserError:
        pytest.skip('it reads another model')
    assert set(seen) == ({True} if not head.needs_attention else set(seen))
    with model.backbone.explicit_attention():
        torch.testing.assert_close(maps, head(model, images, LABELS))


def test_a_class_token_that_is_not_there_is_refused() -> None:
    for head in (dict(), dict(sources=('class',), shared=True)):
        cfg = dict(type='TokenHead', num_classes=5, **head)
        with pytest.raises(ConfigError) as error:
            WSSSClassifier(backbone=TimmCNN(TINY), head=cfg)
        assert str(error.value) == (
            "TimmCNN has no class token, and the head reads one: set the head's "
            "sources=('patch',)"
        )


def test_training_that_a_cnn_cannot_do(images) -> None:
    dropping = WSSSClassifier(backbone=TimmCNN(TINY), head=HEAD, drop_patches=0.5)
    with pytest.raises(ConfigError, match='computes its whole map at once'):
        dropping.double().loss(images, LABELS.double())
    with pytest.raises(UserError, match='compares attention, and TimmCNN has none'):
        ACRClassifier(backbone=TimmCNN(TINY), head=HEAD)


def test_patches_alone_on_a_transformer() -> None:
    """The image's logits are what was trained, not the class token's."""
    vit = TimmViT(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3)
    model = WSSSClassifier(backbone=vit, head=HEAD).double().eval()
    tokens = vit(torch.randn(2, 3, 24, 40, dtype=torch.float64))
    best = model.cam_logits(tokens).flatten(2).topk(3).values.mean(2)  # 0.2 of 15
    torch.testing.assert_close(model.class_logits(tokens), best)
    assert not model.head.reads_class_token and model.head.patch_fc is None
    assert TokenHead(5, 24).reads_class_token


def test_class_token_alone_needs_shared_weights() -> None:
    with pytest.raises(ConfigError) as error:
        TokenHead(5, 24, sources=('class',))
    assert str(error.value) == (
        "with sources ('class',) the weights of the patch logits would stay untrained: "
        'use both sources, or shared=True'
    )
