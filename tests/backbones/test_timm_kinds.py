"""Models of timm of which only some maps can be made: refused before any training."""

from __future__ import annotations

import pytest
import torch
from timm.layers import Attention
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelThingsBlock

from wsss_plugins.backbones import (
    ExViT,
    MultiClassTokenViT,
    TimmViT,
    capture,
    capture_relevance,
)
from wsss_plugins.classifiers import ACRClassifier, WSSSClassifier
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.experiment.try_head import head_refusal
from wsss_plugins.lrp import COMPOSITES
from wsss_plugins.seeds import (
    CAM,
    TSCAM,
    GenericAttentionRelevance,
    GradCAM,
    RawAttention,
    TransformerAttribution,
)

SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3)
REGISTERS = dict(SMALL, class_token=False, reg_tokens=2, global_pool='avg')


def classifier(kind=WSSSClassifier, backbone=None, sources=('class', 'patch'), **arch):
    backbone = backbone or TimmViT(**{**SMALL, **arch})
    head = dict(type='TokenHead', num_classes=3, sources=sources)
    return kind(backbone=backbone, head=head)


# Registers ----------------------------------------------------------------------------


def test_registers_are_not_class_tokens() -> None:
    backbone = TimmViT(**REGISTERS)
    assert (backbone.num_prefix, backbone.num_class_tokens) == (2, 0)
    assert not backbone.has_class_token
    with_both = TimmViT(**SMALL, reg_tokens=2)
    assert (with_both.num_prefix, with_both.num_class_tokens) == (3, 1)
    with pytest.raises(ConfigError) as error:
        classifier(backbone=backbone)
    assert str(error.value) == (
        'TimmViT has no class token (its 2 prefix tokens are registers), and the head '
        "reads one: set the head's sources=('patch',)"
    )


def test_heads_of_a_class_token_refuse_registers() -> None:
    model = classifier(sources=('patch',), **REGISTERS)
    for head in (RawAttention(), TransformerAttribution()):
        assert 'the class token' in str(head_refusal(head, model))
    reason = head_refusal(TSCAM(), model)
    assert reason.endswith('and TimmViT has 0: take CAM')
    assert head_refusal(CAM(), model) is None
    assert head_refusal(GenericAttentionRelevance(), model) is None


def test_acr_does_not_compare_the_rows_of_registers() -> None:
    with pytest.raises(ConfigError, match='TimmViT has no class token: set act'):
        classifier(ACRClassifier, sources=('patch',), **REGISTERS)


# Attention that cannot be read --------------------------------------------------------


class Sharpened(Attention):
    """A user's attention: its matrix is squared before it mixes the values."""


@pytest.mark.parametrize(
    'arch, reason',
    [
        (dict(attn_layer='diff', num_heads=2), 'DiffAttention has the difference of two softmaxes instead'),
        (dict(attn_layer=Sharpened), 'what Sharpened computes is not known'),
    ],
)  # fmt: skip
def test_attention_of_another_type_is_not_read(arch, reason) -> None:
    model = classifier(**arch)
    assert model.backbone.attention_modules() == []
    refusal = head_refusal(RawAttention(), model)
    assert refusal.startswith(f'RawAttention reads attention, and {reason}: take ')
    assert 'CAM' in refusal.split(': take ')[1].split(', ')
    for head in (CAM(), GradCAM()):
        assert head_refusal(head, model) is None
    with (
        pytest.raises(UserError, match=reason),
        capture(model.backbone, torch.zeros(1, 3, 32, 32)),
    ):
        pass
    with pytest.raises(ConfigError, match=f'compares attention, and {reason}'):
        classifier(ACRClassifier, **arch)


@pytest.mark.parametrize('attn', ['diff', Sharpened])
def test_relevance_of_another_attention_is_refused(attn) -> None:
    backbone = TimmViT(**{**SMALL, 'num_heads': 2}, attn_layer=attn)
    images = torch.zeros(1, 3, 32, 32)
    with (
        pytest.raises(UserError, match='does not know what the attention'),
        capture_relevance(backbone, images, COMPOSITES['chefer']),
    ):
        pass


# Other classes that change the blocks -------------------------------------------------


def test_emha_refuses_blocks_without_an_attention_of_their_own() -> None:
    with pytest.raises(
        ConfigError, match='plain attention, not of ParallelThingsBlock'
    ):
        ExViT(**SMALL, block_fn=ParallelThingsBlock)


@pytest.mark.parametrize(
    'kind', [ExViT, lambda vit: MultiClassTokenViT(vit, num_classes=3)]
)
def test_eva_is_refused_where_its_blocks_would_be_changed(kind) -> None:
    vit = Eva(**SMALL, num_classes=0)
    with pytest.raises(
        ConfigError, match=r'VisionTransformer, and this model is a Eva'
    ):
        kind(vit)


def test_activation_checkpointing_of_parallel_blocks() -> None:
    """Recomputed gradients are the same, with and without a capture."""
    found = []
    images = torch.randn(1, 3, 32, 32)
    for checkpoint in (False, True):
        torch.manual_seed(0)
        backbone = TimmViT(
            **SMALL, block_fn=ParallelThingsBlock, checkpoint=checkpoint
        ).train()
        with capture(backbone, images, gradients=True) as trace:
            assert trace.attn[0].shape == (1, 6, 17, 17)
            loss = trace.tokens.patch.square().sum() + trace.attn[0].square().sum()
            loss.backward()
        found.append(backbone.vit.blocks[0].attns[1].attn.qkv.weight.grad)
    torch.testing.assert_close(*found)
