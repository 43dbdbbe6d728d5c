"""The stem of a transformer as a backbone: the same maps as inside the transformer."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from wsss_plugins.backbones import TransformerStem
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError

CONV = dict(stem='conv', img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2)


def test_conv_stem_of_a_trained_classifier(tmp_path) -> None:
    head = dict(type='TokenHead', num_classes=2)
    classifier = WSSSClassifier(dict(type='TimmViT', **CONV), head).eval()
    path = tmp_path / 'weights.safetensors'
    save_file(classifier.state_dict(), path)
    stem = TransformerStem(**CONV, pretrained=str(path)).eval()
    images = torch.randn(2, 3, 24, 40)
    maps = stem(images)
    assert [tuple(m.shape) for m in maps] == [
        (2, 4, 12, 20),
        (2, 8, 6, 10),
        (2, 16, 3, 5),
    ]
    inside = classifier.backbone.vit.patch_embed.layers(images)
    assert torch.equal(maps[-1], inside)
    stem.init_weights()
    assert torch.equal(stem(images)[-1], inside)


@pytest.mark.slow
def test_hybrid_stem(tmp_path) -> None:
    """Three maps of the R50; the last is what is cut into patches."""
    vit = timm.create_model('vit_base_r50_s16_384', num_classes=0).eval()
    kept = {
        k: v
        for k, v in vit.state_dict().items()
        if k.startswith('patch_embed.backbone')
    }
    path = tmp_path / 'weights.safetensors'
    save_file(kept, path)
    stem = TransformerStem('vit_base_r50_s16_384', str(path)).eval()
    images = torch.randn(1, 3, 40, 72)
    maps = stem(images)
    shapes = [(1, 256, 10, 18), (1, 512, 5, 9), (1, 1024, 3, 5)]
    assert [tuple(m.shape) for m in maps] == shapes
    torch.testing.assert_close(maps[-1], vit.patch_embed.backbone(images))


def test_refuses_a_plain_projection() -> None:
    with pytest.raises(ConfigError, match=r'vit_tiny_patch16_224 cuts.*vit_base_r50'):
        TransformerStem('vit_tiny_patch16_224')
    with pytest.raises(ConfigError, match="no argument 'depht'"):
        TransformerStem(stem='conv', depht=2)
