"""Relevance through the pooling of timm's models: attention pooling and the mean."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import AttentionPoolLatent
from torch import nn

from wsss_plugins.backbones import capture, capture_relevance
from wsss_plugins.backbones.explicit_pooling import ExplicitPooling
from wsss_plugins.backbones.timm_survey import redraw
from wsss_plugins.classifiers import TimmClassifier
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.lrp import COMPOSITES, Epsilon, LatentKey, Ratio, ToLast
from wsss_plugins.seeds import (
    CPLRP,
    AttnLRP,
    FullLRP,
    LRPRollout,
    PartialLRP,
    TransformerAttribution,
)
from wsss_plugins.seeds.relevance import RelevanceHead

ATTENTION = (
    'vit_base_patch16_siglip_224',  # no prefix token
    'vit_pe_core_base_patch16_224',  # a class token, rotary positions
    'test_vit3',  # a register, layer scale
)
MEAN = (
    'vit_base_patch16_gap_224',  # a norm after the mean
    'vit_base_patch16_reg4_gap_256',  # registers, which are left out of the mean
    'eva02_tiny_patch14_224',  # a class token, gated MLP
    'aimv2_large_patch14_224',  # RMS norm
)
HEADS = {
    'attention': (
        *(FullLRP, AttnLRP, CPLRP, TransformerAttribution, LRPRollout, PartialLRP),
    ),
    'mean': (FullLRP, AttnLRP, CPLRP),
}


def classifier(name: str, side: int = 96) -> TimmClassifier:
    """Two blocks deep, with biases, norms, layer scales and tokens drawn anew."""
    torch.manual_seed(0)
    small = dict(depth=2, embed_dim=32, num_heads=2, img_size=(64, side))
    holder = nn.Module()
    holder.model = timm.create_model(name, num_classes=4, **small)
    return TimmClassifier(redraw(holder).model.double()).eval()


def images_for(model: TimmClassifier) -> torch.Tensor:
    rows, columns = model.backbone.vit.patch_embed.grid_size
    size = (rows * model.backbone.stride, columns * model.backbone.stride)
    return torch.randn(2, 3, *size, dtype=torch.float64)


def sums_at_the_first_block(model: TimmClassifier, rules: str) -> torch.Tensor:
    """The relevance of every image that arrives there, of 1 at the logit of class 2."""
    inputs, view, form = [], model.backbone.explicit(0), model.head.explicit()
    view.blocks[0].register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
    with COMPOSITES[rules](view, form):
        tokens, _ = view(images_for(model))
        logits, _ = form(tokens)
    (relevance,) = torch.autograd.grad(logits[:, 2].sum(), inputs)
    return relevance.sum((1, 2))


@pytest.mark.parametrize('name', [*ATTENTION, *MEAN])
def test_explicit_form_is_the_model(name) -> None:
    """The same logits, and the same gradients by the image."""
    model = classifier(name)
    images = images_for(model).requires_grad_()
    expected = model.class_logits(model.backbone(images))
    tokens, _ = model.backbone.explicit(None)(images)
    found, attention = model.head.explicit()(tokens)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    gradients = [
        torch.autograd.grad(z[:, 1].sum(), images)[0] for z in (found, expected)
    ]
    assert gradients[1].abs().max() > 1e-6
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)
    for matrix in attention:
        assert matrix.shape[2] == 1
        rows = matrix.sum(-1)
        torch.testing.assert_close(rows, torch.ones_like(rows), rtol=1e-9, atol=1e-9)
    assert len(attention) == (name in ATTENTION)


@pytest.mark.parametrize('rules', ['chefer', 'alpha2_beta1'])
@pytest.mark.parametrize('name', [*ATTENTION, *MEAN])
def test_relevance_of_the_logit_arrives_at_the_first_block(name, rules) -> None:
    sums = sums_at_the_first_block(classifier(name), rules)
    within = 1e-5 if rules == 'chefer' else 1e-2  # sums divide by z + 1e-6
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=within)


@pytest.mark.parametrize('rules', ['epsilon', 'gamma', 'cp_lrp'])
@pytest.mark.parametrize('name', [ATTENTION[0], MEAN[1]])
def test_rules_that_give_biases_a_share_conserve_the_rest(name, rules) -> None:
    model = classifier(name)
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    sums = sums_at_the_first_block(model, rules)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-2)


@pytest.mark.parametrize('rule', [ToLast(Ratio()), ToLast(Epsilon(epsilon=1e-9))])
def test_a_latent_query_is_a_weight_of_the_keys(rule) -> None:
    """The keys get what the input of a linear layer gets whose weight is the query."""
    query, key = (torch.randn(2, 3, n, 8, dtype=torch.float64) for n in (1, 5))
    relevance = torch.randn(2, 3, 1, 5, dtype=torch.float64)
    none, found = rule(LatentKey(), query, key)(relevance)
    assert none is None
    linear = nn.Linear(8, 1, bias=False).double()
    for n in range(2):
        for head in range(3):
            linear.weight.data = query[n, head]
            share = rule.rule(linear, key[n, head])
            (expected,) = share(relevance[n, head].T)
            torch.testing.assert_close(found[n, head], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('head', [TransformerAttribution, LRPRollout])
@pytest.mark.parametrize('start', [0, 1, -1])
def test_the_query_is_the_class_token_of_one_more_block(head, start) -> None:
    """By the whole product of matrices in which the query is token 0."""
    model = classifier(ATTENTION[1])
    images = images_for(model)[:1]
    rules, depth = COMPOSITES['chefer'], 2
    with capture_relevance(model.backbone, images, rules, 0) as trace:
        form = model.head.explicit()
        with rules(form):
            logits, pooling = form(trace.tokens)
        matrices = [*trace.attn, *pooling]
        relevance = torch.autograd.grad(logits[0, 2], matrices)
    with capture(model.backbone, images, gradients=True) as plain:
        logits, pooling = model.head.explicit()(plain.tokens)
        gradients = torch.autograd.grad(logits[0, 2], [*plain.attn, *pooling])
    product = torch.eye(trace.attn[0].shape[-1] + 1, dtype=torch.float64)
    for block in range(start % depth, depth + 1):
        weight = gradients[block] if head is TransformerAttribution else 1.0
        matrix = torch.zeros_like(product)
        rows = slice(1, None) if block < depth else slice(0, 1)
        matrix[rows, 1:] = (relevance[block] * weight).clamp(min=0).mean(1)[0]
        product = (torch.eye(len(product)) + matrix) @ product
    expected = product[0, 1 + trace.num_prefix :].view(trace.grid)
    labels = torch.tensor([[0, 0, 1, 0]])
    found = head(start_block=start)(model, images, labels)[0, 2]
    assert expected.max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('ablation', [False, True])
def test_partial_lrp_reads_the_row_of_the_query(ablation) -> None:
    model = classifier(ATTENTION[2])
    images = images_for(model)
    labels = torch.tensor([[0, 1, 0, 0]]).expand(2, -1)
    rules = COMPOSITES['chefer_lrp']
    tokens = model.backbone(images)
    form = model.head.explicit()
    with rules(form):
        logits, (attn,) = form(tokens)
    (values,) = torch.autograd.grad(logits[:, 1].sum(), attn)
    if ablation:
        logits, (attn,) = form(tokens)
        values = values * torch.autograd.grad(logits[:, 1].sum(), attn)[0]
    expected = values[:, :, 0, 1:].clamp(min=0).mean(1).view(2, 4, 6)
    found = PartialLRP(ablation=ablation)(model, images, labels)[:, 1]
    assert expected.max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_partial_lrp_takes_no_block_without_the_query() -> None:
    model = classifier(ATTENTION[0])
    for block in (0, 1, -2):
        with pytest.raises(ConfigError) as error:
            PartialLRP(block=block)(model, images_for(model), torch.ones(2, 4))
        assert str(error.value) == (
            'PartialLRP reads the row of one query, and the query of this attention '
            f'pooling has none in block {block}: give block=-1, the pooling'
        )


@pytest.mark.parametrize('side', [64, 96])
@pytest.mark.parametrize('name', [ATTENTION[1], MEAN[1]])
def test_a_batch_is_its_images_one_by_one(name, side) -> None:
    model = classifier(name, side)
    images, labels = images_for(model), torch.tensor([[1, 0, 1, 1], [0, 1, 0, 1]])
    for cls in HEADS[model.head.pooling]:
        maps = cls()(model, images, labels)
        assert (maps.amax((2, 3))[labels == 1] > 0).all()
        alone = [cls()(model, images[n : n + 1], labels[n : n + 1]) for n in range(2)]
        torch.testing.assert_close(maps, torch.cat(alone), rtol=1e-7, atol=1e-12)


def test_methods_of_one_query_refuse_the_mean() -> None:
    model = classifier(MEAN[0])
    for cls in set(HEADS['attention']) - set(HEADS['mean']):
        with pytest.raises(ConfigError, match='come from the patch tokens: take AttnL'):
            cls()(model, images_for(model), torch.ones(2, 4))


class OwnRelevance(RelevanceHead):
    """A head of a user that reads the class token's row."""

    def slot_maps(self, model, trace, slots):
        raise AssertionError('refused before')


def test_a_head_of_ones_own_is_refused_unless_it_states_the_pooling() -> None:
    model = classifier(ATTENTION[1])
    with pytest.raises(ConfigError, match='shows what the class token gathers'):
        OwnRelevance('chefer')(model, images_for(model), torch.ones(2, 4))
    OwnRelevance.poolings = ('attention',)
    try:
        OwnRelevance('chefer').check_model(model)
    finally:
        del OwnRelevance.poolings


@pytest.mark.parametrize(
    'options',
    [
        dict(pool_type='avg', latent_len=3),
        dict(pos_embed='abs', feat_size=6),
        dict(out_features=0),
    ],
)
def test_a_pooling_of_another_kind_is_refused(options) -> None:
    with pytest.raises(UserError, match='what the pooling AttentionPoolLatent comp'):
        ExplicitPooling(AttentionPoolLatent(8, num_heads=2, **options))


@pytest.mark.parametrize(
    'options',
    [
        dict(latent_len=3),
        dict(qk_norm=True, norm_layer=nn.LayerNorm),
        dict(q_proj=False, qkv_bias=False),
        dict(latent_dim=5, embed_dim=16, in_features=16),
    ],
)
def test_options_of_the_pooling(options) -> None:
    torch.manual_seed(0)
    options = {'in_features': 16, **options}
    pool = redraw(AttentionPoolLatent(num_heads=2, **options)).double().eval()
    tokens = torch.randn(3, 7, 16, dtype=torch.float64, requires_grad=True)
    form = ExplicitPooling(pool)
    torch.testing.assert_close(form(tokens)[0], pool(tokens), rtol=1e-9, atol=1e-9)
    with COMPOSITES['chefer'](form):
        pooled, _ = form(tokens)
    (relevance,) = torch.autograd.grad(pooled[:, 5].sum(), tokens)
    sums = relevance.sum((1, 2))
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)
