"""What the page of timm's vision transformers says of each kind, tried again."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from wsss_plugins.backbones import (
    TimmViT,
    explicit_attention,
    explicit_blocks,
    explicit_pooling,
)
from wsss_plugins.backbones.timm_survey import LAWS, names, redraw, survey, tiny
from wsss_plugins.experiment.vit_list import line_of, page_of
from wsss_plugins.lrp import Uniform

PAGE = Path(__file__).parents[2] / 'docs' / 'generated' / 'timm_vits.md'

KINDS = {
    'vit_tiny_patch16_224': ('all', 'class token, patch 16'),
    'vit_base_patch14_reg4_dinov2': ('all', '4 registers, patch 14, layer scale'),
    'vit_base_patch16_reg4_gap_256': ('some', '4 registers, patch 16, avg pooling'),
    'vit_base_patch16_siglip_224': (
        'some',
        'no prefix token, patch 16, attention pool',
    ),
    'vit_pe_core_tiny_patch16_384': ('all', 'class token, patch 16, attention pool'),
    'vit_base_patch16_gap_224': ('some', 'no prefix token, patch 16, avg pooling'),
    'deit_tiny_distilled_patch16_224': ('all', 'distillation token'),
    'eva02_tiny_patch14_224': ('all', 'RoPE (Cat), GluMlp'),
    'eva02_base_patch14_224': ('all', 'RoPE (Cat), unfused qkv, SwiGLU'),
    'vit_small_patch16_dinov3': ('all', 'RoPE (DinoV3)'),
    'vit_small_patch16_dinov3_qkvb': ('all', 'RoPE (DinoV3)'),
    'vit_small_patch16_rope_mixed_224': ('all', 'RoPE (Mixed)'),
    'vit_base_patch16_sapiens2': (
        'all',
        'QK-norm, unfused qkv, shared keys, GluMlp, Rms',
    ),
    'vit_giant_patch14_dinov2': ('all', 'patch 14, GluMlp, layer scale'),
    'aimv2_large_patch14_224': ('some', 'SwiGLU, RmsNorm'),
    'vit_base_patch16_xp_224': ('all', 'ParallelScalingBlock, QK-norm, RmsNorm'),
    'vit_base_patch16_18x2_224': ('all', 'ParallelThingsBlock'),
    'vit_base_patch16_rpn_224': ('some', 'ResPostBlock'),
    'eva02_enormous_patch14_clip_224': ('all', 'EvaBlockPostNorm'),
    'vit_dlittle_patch16_reg1_gap_256': ('backbone', 'differential attention'),
    'vit_dpwee_patch16_reg1_gap_256': ('backbone', 'DiffParallelScalingBlock'),
    'vit_tiny_r_s16_p8_224': ('some', 'CNN of stride 32'),
    'vitamin_small_224': ('some', 'GeGluMlp'),
    'naflexvit_base_patch16_gap': ('refused', ''),
    'beit_base_patch16_224': ('refused', ''),
    'vit_relpos_base_patch16_224': ('refused', ''),
}


@pytest.mark.parametrize('name', KINDS)
def test_each_kind_is_as_the_page_says(name) -> None:
    found = survey(name)
    assert not found.broken
    verdict, parts = KINDS[name]
    assert found.verdict == verdict and parts in found.kind
    assert line_of(found) in PAGE.read_text(encoding='utf-8').splitlines()


def test_the_page_lists_every_model_once_and_none_is_broken() -> None:
    lines = PAGE.read_text(encoding='utf-8').splitlines()
    listed = [line.split('`')[1] for line in lines if line.startswith('| `')]
    if f'with timm {timm.__version__}:' not in '\n'.join(lines[:6]):
        pytest.skip('the page is of another version of timm')
    assert sorted(listed) == sorted(names())
    assert '## A law does not hold' not in lines


@pytest.mark.parametrize(
    'where, law',
    [
        ((explicit_blocks.Product, 'forward', lambda self, gate, signal: signal), 'explicit form'),
        ((explicit_attention.Rotate, 'forward', lambda self, rope, x: x), 'explicit form'),
        ((TimmViT, 'rotations', lambda self, grid, keep=None: [None, None]), 'tokens'),
        ((explicit_blocks.Scale, 'forward', lambda self, x: x), 'explicit form'),
    ],
)  # fmt: skip
def test_a_part_that_is_left_out_breaks_a_law(where, law, monkeypatch) -> None:
    """EVA's gate, rotation and layer scale each have an effect that the survey sees."""
    owner, method, without = where
    scaled = owner is explicit_blocks.Scale
    name = 'vit_small_patch16_dinov3' if scaled else 'eva02_tiny_patch14_224'
    monkeypatch.setattr(owner, method, without)
    assert law in survey(name).broken


def test_lost_relevance_breaks_a_law(monkeypatch) -> None:
    monkeypatch.setattr(Uniform, '__call__', _twice)
    assert survey('eva02_tiny_patch14_224').broken == ['relevance']


@pytest.mark.parametrize(
    ('part', 'without'),
    [
        (explicit_pooling.LatentKey, lambda self, query, key: 0 * query @ key.mT),
        (explicit_pooling.Fork, lambda self, x: (x, 0 * x)),
    ],
)
def test_a_part_of_the_pooling_that_is_left_out_breaks_its_law(
    part, without, monkeypatch
) -> None:
    assert survey('vit_base_patch16_siglip_224').broken == []
    monkeypatch.setattr(part, 'forward', without)
    assert 'pooling' in survey('vit_base_patch16_siglip_224').broken


def _twice(self, layer, *inputs):
    """Gives each factor the whole relevance, so that it doubles."""
    return lambda relevance: (relevance,) * len(inputs)


def test_a_model_that_fails_is_a_finding(monkeypatch) -> None:
    def fail(*_):
        raise ZeroDivisionError('on purpose')

    monkeypatch.setitem(LAWS, 'gradients', fail)
    found = survey('vit_tiny_patch16_224')
    assert found.broken == ['gradients (ZeroDivisionError: on purpose)']
    assert found.verdict == 'broken' and '## A law does not hold (1)' in page_of(
        [found]
    )


@pytest.mark.parametrize(
    'name', ['vit_base_patch16_siglip_224', 'vit_base_patch16_gap_224', 'eva02_tiny_patch14_224']
)  # fmt: skip
def test_every_weight_that_is_trained_has_a_gradient(name) -> None:
    """Distributed training waits for ever for a weight that is not used."""
    backbone = tiny(name)
    tokens = backbone(
        torch.randn(1, 3, 4 * backbone.stride, 4 * backbone.stride).double()
    )
    (tokens.prefix.sum() + tokens.patch.square().sum()).backward()
    trained = [k for k, p in backbone.named_parameters() if p.requires_grad]
    assert [k for k in trained if backbone.get_parameter(k).grad is None] == []


def test_layer_scale_is_drawn_anew() -> None:
    vit = timm.create_model(
        'deit3_small_patch16_224', depth=2, embed_dim=24, num_heads=2, num_classes=0
    )
    assert float(vit.blocks[0].ls1.gamma.max()) < 1e-5
    redraw(TimmViT(vit))
    assert float(vit.blocks[0].ls1.gamma.min()) >= 0.5


@pytest.mark.parametrize(
    'name', ['vit_base_patch16_rope_224', 'eva02_tiny_patch14_224', 'vit_small_patch16_dinov3']
)  # fmt: skip
def test_positions_of_another_grid_are_those_of_timm(name) -> None:
    """A built model's table of rotations is of one grid; on another it is made anew."""
    small = dict(depth=2, embed_dim=32, num_heads=2, num_classes=0, img_size=64)
    ours = redraw(TimmViT(timm.create_model(name, **small))).eval()
    timms = timm.create_model(name, **small, dynamic_img_size=True).eval()
    timms.load_state_dict(ours.vit.state_dict())
    images = torch.randn(2, 3, 3 * ours.stride, 5 * ours.stride)
    expected = timms.forward_features(images)[:, ours.num_prefix :]
    for _ in range(2):  # and again, after the trained grid
        found = ours(images).patch.flatten(2).transpose(1, 2)
        torch.testing.assert_close(found, expected)
        side = ours.vit.patch_embed.grid_size[0] * ours.stride
        ours(torch.zeros(1, 3, side, side))


@pytest.mark.parametrize(
    'name', ['vit_small_patch16_rope_mixed_224', 'eva02_tiny_patch14_224']
)
def test_kept_patches_keep_their_rotations(name) -> None:
    """All patches in another order are the same patches, and those left out have no effect."""
    backbone = tiny(name)
    images = torch.randn(2, 3, 3 * backbone.stride, 5 * backbone.stride).double()
    order = torch.stack([torch.randperm(15), torch.randperm(15)])
    full, some = backbone(images), backbone(images, keep=order)
    torch.testing.assert_close(some.prefix, full.prefix)
    for n in range(2):
        expected = full.patch[n].flatten(1)[:, order[n]]
        torch.testing.assert_close(some.patch[n, :, 0], expected)
