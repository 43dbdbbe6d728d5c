"""Heads of MCTformer and TS-CAM: logits, pooling, losses, what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from wsss_plugins.backbones import MultiClassTokenViT, TimmViT, Tokens
from wsss_plugins.classifiers import (
    ACRClassifier,
    ConvHead,
    MCTHead,
    WSSSClassifier,
    pool_rank,
)
from wsss_plugins.errors import ConfigError, UserError

TINY = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)
LABELS = torch.tensor([[1.0, 0, 1, 0, 0], [0, 0, 0, 1, 0]])
PLUS = dict(pool='rank', contrast=dict(type='ClassContrastLoss'))


@pytest.fixture
def images():
    return torch.randn(2, 3, 24, 40)


def mct_backbone(classes=5):
    return MultiClassTokenViT(num_classes=classes, **TINY)


def test_rank_pooling_by_hand() -> None:
    maps = torch.tensor([[1.0, 4.0], [2.0, -3.0]])[None, None]
    expected = (4 + 2 * 0.5 + 1 * 0.25 - 3 * 0.125) / 1.875
    assert pool_rank(maps, 0.5).item() == pytest.approx(expected)
    torch.testing.assert_close(pool_rank(maps, 1.0), maps.mean((2, 3)))
    torch.testing.assert_close(pool_rank(maps, 1e-9), maps.amax((2, 3)))


@pytest.mark.parametrize('options', [{}, PLUS], ids=['v2', 'plus'])
def test_losses_of_mctformer(options, images) -> None:
    head = dict(type='MCTHead', num_classes=5, **options)
    model = WSSSClassifier(backbone=mct_backbone(), head=head)
    losses = model.loss(images, LABELS)
    tokens = model.backbone(images)
    logits = tokens.prefix.mean(-1)
    expected = F.multilabel_soft_margin_loss(logits, LABELS)
    torch.testing.assert_close(losses.pop('loss_class'), expected)
    maps = F.conv2d(
        tokens.patch, model.head.conv.weight, model.head.conv.bias, padding=1
    )
    pooled = pool_rank(maps) if options else maps.mean((2, 3))
    expected = F.multilabel_soft_margin_loss(pooled, LABELS)
    torch.testing.assert_close(losses.pop('loss_patch'), expected)
    if options:
        expected = model.head.contrast(tokens.prefix_layers, LABELS)
        torch.testing.assert_close(losses.pop('loss_contrast'), expected)
    assert not losses


@pytest.mark.parametrize('prefix', [1, 2])
@pytest.mark.parametrize('sources', [('class',), ('class', 'patch')])
def test_every_weight_is_trained(sources, prefix, images, tiny_mctformer) -> None:
    """Also in ACR, which needs no classifier of its own for it."""
    model = tiny_mctformer(prefix=prefix, acr=True, sources=sources)
    losses = model.train().loss(images, LABELS)
    assert {'loss_class', 'loss_act', 'loss_aff'} <= set(losses)
    sum(losses.values()).backward()
    idle = [
        n for n, p in model.named_parameters() if p.requires_grad and p.grad is None
    ]
    assert idle == []


def test_acr_compares_the_rows_of_all_classes(images, tiny_mctformer) -> None:
    from wsss_plugins.backbones import capture

    model = tiny_mctformer(acr=True).eval()
    with torch.no_grad():
        losses = model.loss(images, LABELS)
        with capture(model.backbone, images) as one:
            pass
        with capture(model.backbone, images.flip(-1)) as two:
            pass
    order = torch.arange(15).reshape(3, 5).flip(1).flatten()
    rows = [t.head_mean()[:, :, :5, 5:] for t in (one, two)]
    gap = (rows[0] - rows[1][..., order]).abs().mean()
    torch.testing.assert_close(losses['loss_act'], 100 * gap)


def test_a_checkpoint_comes_back(tmp_path, images, tiny_mctformer) -> None:
    first, again = (tiny_mctformer(**PLUS).eval() for _ in range(2))
    again.load_state_dict(first.state_dict(), strict=True)
    torch.testing.assert_close(again(images), first(images))


def test_conv_head_of_ts_cam(images) -> None:
    backbone = TimmViT(**TINY)
    model = WSSSClassifier(backbone=backbone, head=dict(type=ConvHead, num_classes=5))
    tokens = backbone(images)
    logits = model.cam_logits(tokens)
    assert logits.shape == (2, 5, 3, 5)
    torch.testing.assert_close(model.class_logits(tokens), logits.mean((2, 3)))
    assert list(model.head.state_dict()) == ['conv.weight', 'conv.bias']
    assert not model.head.reads_class_token


def test_a_1x1_convolution_is_the_linear_head(images) -> None:
    patch = torch.randn(2, 24, 3, 5)
    head = ConvHead(5, 24, kernel_size=1)
    tokens = Tokens(patch.new_zeros(2, 1, 24), patch)
    expected = torch.einsum('ndhw,cd->nchw', patch, head.conv.weight[:, :, 0, 0])
    found = head.patch_logits(tokens)
    torch.testing.assert_close(found, expected + head.conv.bias[:, None, None])


def test_what_is_refused(images) -> None:
    head = dict(type='MCTHead', num_classes=5)
    with pytest.raises(
        ConfigError, match='for each of 5 classes, and TimmViT has 1: t'
    ):
        WSSSClassifier(backbone=TimmViT(**TINY), head=head)
    with pytest.raises(ConfigError, match='MultiClassTokenViT has 4'):
        WSSSClassifier(backbone=mct_backbone(4), head=head)
    with pytest.raises(ConfigError, match='TokenHead reads one for all: take MCTHead'):
        WSSSClassifier(
            backbone=mct_backbone(), head=dict(type='TokenHead', num_classes=5)
        )
    with pytest.raises(ConfigError, match='same for all tokens after a LayerNorm'):
        backbone = MultiClassTokenViT(num_classes=5, final_norm=True, **TINY)
        WSSSClassifier(backbone=backbone, head=head)
    for kind in (WSSSClassifier, ACRClassifier):
        with pytest.raises(ConfigError, match='convolves neighbouring patches'):
            kind(backbone=mct_backbone(), head=head, drop_patches=0.5)
    with pytest.raises(ConfigError, match="add 'class' to its sources"):
        MCTHead(5, 24, sources=('patch',))
    with pytest.raises(ConfigError, match="add 'patch' to its sources"):
        ConvHead(5, 24, sources=('class',))
    with pytest.raises(ConfigError, match=r"pool of .* not 'max', 3 and 0.996"):
        ConvHead(5, 24, pool='max')
    with pytest.raises(ConfigError, match=r"odd kernel_size .* not 'mean', 2"):
        ConvHead(5, 24, kernel_size=2)
    tokens = Tokens(torch.zeros(2, 5, 24), torch.zeros(2, 24, 3, 5))
    with pytest.raises(UserError, match='says nothing of single patches'):
        MCTHead(5, 24, sources=('class',)).patch_logits(tokens)
    with pytest.raises(UserError, match='shows the last ones alone'):
        MCTHead(5, 24, **PLUS).extra_losses(tokens, LABELS)


def test_patches_may_be_dropped_where_none_is_convolved(images) -> None:
    """V1 has no convolution."""
    head = dict(type='MCTHead', num_classes=5, sources=('class',))
    model = WSSSClassifier(backbone=mct_backbone(), head=head, drop_patches=0.5)
    torch.manual_seed(7)
    found = model.loss(images, LABELS)['loss_class']
    torch.manual_seed(7)
    keep = model.sample_patches(images)
    assert keep.shape[1] == round(0.5 * math.prod(model.backbone.grid(images)))
    logits = model.head(model.backbone(images, keep))['class']
    torch.testing.assert_close(found, model.classification_loss(logits, LABELS))
    model.drop_patches = 0
    assert (found - model.loss(images, LABELS)['loss_class']).abs() > 1e-6
