"""Which seed heads make maps of each kind of timm's transformers, as its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsss_plugins.backbones.timm_survey import tiny
from wsss_plugins.classifiers import TimmClassifier, WSSSClassifier
from wsss_plugins.experiment.try_head import head_refusal
from wsss_plugins.experiment.vit_list import (
    class_token_heads,
    gradient_heads,
    relevance_heads,
)
from wsss_plugins.registry import SEED_HEADS

PAGE = Path(__file__).parents[2] / 'docs' / 'generated' / 'timm_vits.md'
HEADS = {
    name: cls
    for name, cls in SEED_HEADS.module_dict.items()
    if cls.__module__.startswith('wsss_plugins.')
}
OTHER = {'AffinityRefined', 'AttributeCAM', 'MCTformerMap'}  # of other models and heads
PIXELS = {'FullLRP', 'AttnLRP', 'CPLRP'}


def refused(name: str) -> set[str]:
    backbone = tiny(name).float()
    sources = ('class', 'patch') if backbone.has_class_token else ('patch',)
    head = dict(type='TokenHead', num_classes=4, sources=sources)
    return refused_by(WSSSClassifier(backbone=backbone, head=head).eval())


def refused_by(model: WSSSClassifier) -> set[str]:
    return {
        title
        for title, cls in HEADS.items()
        if title not in OTHER
        # GETAM reads three blocks, and a tiny model has two
        and head_refusal(cls(start_block=0) if title == 'GETAM' else cls(), model)
    }


@pytest.mark.parametrize(
    'name',
    [
        'vit_tiny_patch16_224',
        'eva02_tiny_patch14_224',
        'vit_small_patch16_dinov3',
        'vit_base_patch16_sapiens2',
        'vit_base_patch16_xp_224',
        'vit_base_patch16_18x2_224',
    ],
)
def test_all_heads(name) -> None:
    assert refused(name) == set()


def test_without_class_token() -> None:
    expected = set(class_token_heads()) - OTHER
    assert refused('vit_base_patch16_reg4_gap_256') == expected
    assert refused('aimv2_large_patch14_224') == expected


@pytest.mark.parametrize(
    ('name', 'pooling'),
    [
        ('vit_base_patch16_siglip_224', 'attention'),
        ('vit_pe_core_tiny_patch16_384', 'attention'),
        ('vit_base_patch16_reg4_gap_256', 'mean'),
        ('vit_small_patch16_dinov3', 'mean'),
    ],
)
def test_relevance_passes_the_own_head_of_a_model(name, pooling) -> None:
    small = dict(depth=2, img_size=(64, 96), embed_dim=32, num_heads=2)
    model = TimmClassifier(name, None, num_classes=4, **small).eval()
    passing = set(relevance_heads(pooling))
    expected = set(class_token_heads()) - OTHER - passing
    if model.backbone.has_class_token:
        expected -= {'TSCAM'}  # which needs no logits of the class token
    assert passing >= PIXELS and refused_by(model) == expected


def test_on_a_cnn_relevance_ends_at_the_tokens() -> None:
    assert refused('vit_tiny_r_s16_p8_224') == PIXELS


def test_differential_attention_leaves_the_heads_that_read_none() -> None:
    every = set(HEADS) - OTHER
    assert every - refused('vit_dlittle_patch16_reg1_gap_256') == set(gradient_heads())


def test_the_page_names_these_heads() -> None:
    text = PAGE.read_text(encoding='utf-8')
    passing = map(relevance_heads, ('attention', 'mean'))
    for heads in (class_token_heads(), gradient_heads(), *passing):
        assert ', '.join(f'`{name}`' for name in heads) in text
