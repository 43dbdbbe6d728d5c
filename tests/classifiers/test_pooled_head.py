"""Models of timm that pool their tokens, as classifiers: their logits and their maps."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from wsss_plugins.backbones.timm_survey import redraw
from wsss_plugins.classifiers import TimmClassifier
from wsss_plugins.classifiers.pooled_head import PooledHead
from wsss_plugins.errors import ConfigError
from wsss_plugins.seeds import CAM, GradCAM, RawAttention

SMALL = dict(depth=2, embed_dim=32, num_heads=2, img_size=(64, 96), num_classes=4)
MEAN = {
    'vit_base_patch16_gap_224': 'LayerNorm after the mean',
    'vit_base_patch16_reg4_gap_256': 'registers',
    'aimv2_large_patch14_224': 'RMS norm',
    'eva02_tiny_patch14_224': 'a class token that is not read',
    'vit_base_patch16_siglip_gap_224': 'norm before the mean',
}
ATTENTION = ('vit_base_patch16_siglip_224', 'vit_pe_core_base_patch16_224', 'test_vit3')


def both(name):
    """timm's model and ours, of the same weights, and images of the trained size."""
    torch.manual_seed(0)
    model = redraw_all(timm.create_model(name, **SMALL)).double().eval()
    again = timm.create_model(name, **SMALL).double()
    again.load_state_dict(model.state_dict())
    model.patch_embed.strict_img_size = False  # patches of 14 leave a rest of 64 x 96
    rows, columns = model.patch_embed.grid_size
    side = model.patch_embed.patch_size[0]
    images = torch.randn(2, 3, rows * side, columns * side, dtype=torch.float64)
    return model, TimmClassifier(again).eval(), images


def redraw_all(model):
    """Small parameters anew, the head and the pooling too."""
    holder = nn.Module()
    holder.model = model
    return redraw(holder).model


@pytest.mark.parametrize('name', [*MEAN, *ATTENTION])
def test_logits_are_timms(name) -> None:
    model, ours, images = both(name)
    expected = model(images)
    assert expected.std() > 0.01
    torch.testing.assert_close(ours(images)['patch'], expected, rtol=1e-9, atol=1e-9)
    scores = ours.head.scores(ours.backbone(images))
    torch.testing.assert_close(scores, expected.softmax(1), rtol=1e-9, atol=1e-9)
    names = [key for key, _ in ours.backbone.named_parameters()]
    assert not [key for key in names if 'attn_pool' in key or 'fc_norm' in key]


@pytest.mark.parametrize('name', MEAN)
def test_patch_logits_share_the_logit_of_the_image(name) -> None:
    """Their mean is the logit, also where a norm follows the mean."""
    _, ours, images = both(name)
    tokens = ours.backbone(images)
    mean = ours.cam_logits(tokens).mean((2, 3))
    torch.testing.assert_close(mean, ours.class_logits(tokens), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('name', ATTENTION[:1])
def test_patch_logits_of_attention_are_those_of_the_patch_alone(name) -> None:
    model, ours, images = both(name)
    tokens = ours.backbone(images)
    patch = tokens.patch[:, :, 1, 2]
    alone = model.forward_head(patch[:, None])
    torch.testing.assert_close(ours.cam_logits(tokens)[:, :, 1, 2], alone)


def test_which_heads_read_it() -> None:
    _, ours, images = both('vit_base_patch16_siglip_224')
    labels = torch.ones(2, 4)
    for head in (CAM(), GradCAM()):
        assert head(ours, images, labels).shape[:2] == (2, 4)
    with pytest.raises(
        ConfigError, match='the logits of PooledHead come from the patch'
    ):
        RawAttention()(ours, images, labels)


def test_unknown_norm_is_refused() -> None:
    with pytest.raises(ConfigError, match='the norm BatchNorm1d after the pooling'):
        PooledHead(nn.Linear(4, 2), nn.BatchNorm1d(4))
