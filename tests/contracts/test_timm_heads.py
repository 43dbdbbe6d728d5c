"""Which seed heads make maps of each kind of timm's transformers, as its page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsss_plugins.backbones.timm_survey import tiny
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.experiment.try_head import head_refusal
from wsss_plugins.experiment.vit_list import class_token_heads, gradient_heads
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
    model = WSSSClassifier(backbone=backbone, head=head).eval()
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


def test_on_a_cnn_relevance_ends_at_the_tokens() -> None:
    assert refused('vit_tiny_r_s16_p8_224') == PIXELS


def test_differential_attention_leaves_the_heads_that_read_none() -> None:
    every = set(HEADS) - OTHER
    assert every - refused('vit_dlittle_patch16_reg1_gap_256') == set(gradient_heads())


def test_the_page_names_these_heads() -> None:
    text = PAGE.read_text(encoding='utf-8')
    for heads in (class_token_heads(), gradient_heads()):
        assert ', '.join(f'`{name}`' for name in heads) in text
