"""A transformer as the backbone of a segmentor."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from conftest import TINY
from mmengine.registry import init_default_scope
from mmseg.models.segmentors import BaseSegmentor
from safetensors.torch import save_file

from wsss_plugins.backbones import PatchMaps, TimmViT
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, SCOPE, build_as


def test_its_map_is_the_patch_tokens() -> None:
    vit = TimmViT(**TINY).eval()
    images = torch.rand(2, 3, 40, 56)
    with torch.no_grad():
        (found,) = PatchMaps(vit)(images)
        assert found.shape == (2, 24, 5, 7)
        assert found.equal(vit(images).patch)


@pytest.mark.parametrize('size', [(33, 56), (40, 49), (1, 8)])
def test_other_sizes_are_stretched_to_whole_patches(size) -> None:
    vit = TimmViT(**TINY).eval()
    images = torch.rand(1, 3, *size)
    grid = (-(-size[0] // 8), -(-size[1] // 8))
    stretched = F.interpolate(images, size=(8 * grid[0], 8 * grid[1]), mode='bilinear')
    with torch.no_grad():
        (found,) = PatchMaps(vit)(images)
        assert found.shape[2:] == grid
        assert found.equal(vit(stretched).patch)


@pytest.mark.parametrize('how', ['pretrained', 'init_cfg'])
def test_begins_with_a_trained_classifier(tmp_path, tiny_classifier, how) -> None:
    """The file of a classifier, as TrainStage names it."""
    classifier = tiny_classifier()
    path = str(tmp_path / 'weights.safetensors')
    save_file({k: v.contiguous() for k, v in classifier.state_dict().items()}, path)
    given = dict(pretrained=path)
    if how == 'init_cfg':
        given = dict(init_cfg=dict(type='Pretrained', checkpoint=path))
    maps = PatchMaps(dict(type='TimmViT', **TINY), **given)
    maps.init_weights()
    ours = maps.backbone.state_dict()
    assert ours and all(
        value.equal(ours[name])
        for name, value in classifier.backbone.state_dict().items()
    )


def test_in_a_segmentor_of_mmseg() -> None:
    init_default_scope(SCOPE)
    head = dict(
        type='FCNHead', in_channels=24, in_index=0, channels=8, num_convs=1,
        concat_input=False, num_classes=4,
    )  # fmt: skip
    cfg = dict(
        type='EncoderDecoder',
        backbone=dict(type='PatchMaps', backbone=dict(type='TimmViT', **TINY)),
        decode_head=head,
        test_cfg=dict(mode='whole'),
    )
    model = build_as(MODELS, cfg, BaseSegmentor)
    model.init_weights()
    logits = model.encode_decode(torch.rand(1, 3, 30, 44), [dict(img_shape=(30, 44))])
    assert logits.shape == (1, 4, 30, 44)
    logits.sum().backward()
    assert all(
        p.grad is not None for p in model.backbone.backbone.vit.patch_embed.parameters()
    )


def test_only_transformers_of_ours() -> None:
    with pytest.raises(ConfigError, match='Linear'):
        PatchMaps(torch.nn.Linear(2, 2))
