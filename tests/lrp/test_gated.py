"""Relevance through products, rotations and parts that a user brings."""

from __future__ import annotations

import pytest
import torch
from timm.layers import AttentionRope, GluMlp, SwiGLU
from torch import nn

from wsss_plugins.backbones import TimmViT, capture_relevance
from wsss_plugins.backbones.explicit_attention import ExplicitAttention
from wsss_plugins.backbones.timm_survey import redraw
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.lrp import COMPOSITES, Composite, Product, Rotate, ToLast
from wsss_plugins.seeds import LRPRollout, PartialLRP, TransformerAttribution

SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3)


class Gated(nn.Module):
    """A gated MLP as a user may write it: the product is no module."""

    def __init__(self, in_features, hidden_features, **_) -> None:
        super().__init__()
        self.gate = nn.Linear(in_features, hidden_features)
        self.signal = nn.Linear(in_features, hidden_features)
        self.act, self.out = nn.SiLU(), nn.Linear(hidden_features, in_features)

    def forward(self, x):
        return self.out(self.act(self.gate(x)) * self.signal(x))


class GatedByModules(Gated):
    """The same, of modules alone."""

    operations_are_modules = True

    def __init__(self, in_features, hidden_features, **_) -> None:
        super().__init__(in_features, hidden_features)
        self.product = Product()

    def forward(self, x):
        return self.out(self.product(self.act(self.gate(x)), self.signal(x)))


def sum_at_the_first_block(backbone):
    images = torch.randn(2, 3, 24, 40, dtype=torch.float64)
    inputs, view = [], backbone.explicit(0)
    view.blocks[0].register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
    with COMPOSITES['chefer'](view):
        tokens, _ = view(images)
    (relevance,) = torch.autograd.grad(tokens.prefix[:, 0, 5].sum(), inputs)
    return relevance.sum((1, 2))


@pytest.mark.parametrize('mlp', [SwiGLU, GluMlp, GatedByModules])
def test_gated_mlps_conserve_relevance(mlp) -> None:
    backbone = redraw(TimmViT(**SMALL, mlp_layer=mlp)).double().eval()
    sums = sum_at_the_first_block(backbone)
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)


def test_a_product_that_is_no_module_is_refused() -> None:
    backbone = TimmViT(**SMALL, mlp_layer=Gated)
    with (
        pytest.raises(UserError, match='does not know what the MLP Gated computes'),
        capture_relevance(backbone, torch.zeros(1, 3, 32, 32), COMPOSITES['chefer']),
    ):
        pass


@pytest.mark.parametrize('name', COMPOSITES)
def test_factors_share_and_cp_lrp_holds_the_gate_constant(name) -> None:
    gate, signal = (torch.randn(2, 5, requires_grad=True) for _ in range(2))
    relevance = torch.randn(2, 5)
    product = Product()
    with COMPOSITES[name](product):
        output = product(gate, signal)
    found = torch.autograd.grad(output, (gate, signal), relevance, allow_unused=True)
    if name == 'cp_lrp':
        assert found[0] is None
        torch.testing.assert_close(found[1], relevance)
    else:
        for part in found:
            torch.testing.assert_close(part, relevance / 2)


@pytest.mark.parametrize('name', COMPOSITES)
def test_rotations_conserve_the_relevance_of_every_token(name) -> None:
    x = torch.randn(2, 3, 7, 8, dtype=torch.float64, requires_grad=True)
    angle = torch.rand(6, 4, dtype=torch.float64).repeat_interleave(2, -1)
    rope = torch.cat([angle.sin(), angle.cos()], -1)
    relevance = torch.randn(2, 3, 7, 8, dtype=torch.float64)
    rotate = Rotate(prefix=1, half=False)
    with COMPOSITES[name](rotate):
        output = rotate(rope, x)
    (found,) = torch.autograd.grad(output, x, relevance)
    torch.testing.assert_close(found.sum(-1), relevance.sum(-1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[:, :, 0], relevance[:, :, 0], rtol=1e-3, atol=1e-3)


def test_a_gate_on_attention_conserves_relevance() -> None:
    torch.manual_seed(0)
    attn = AttentionRope(24, 3, qkv_fused=False, num_kv_heads=1, gated=True)
    attn = attn.double().eval()
    form = ExplicitAttention(attn)
    x = torch.randn(2, 7, 24, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(form(x)[0], attn(x), rtol=1e-9, atol=1e-9)
    with COMPOSITES['chefer'](form):
        output, _ = form(x)
    (relevance,) = torch.autograd.grad(output[:, 0, 5].sum(), x)
    torch.testing.assert_close(
        relevance.sum((1, 2)), torch.ones(2).double(), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize('head', [TransformerAttribution, LRPRollout, PartialLRP])
def test_rules_that_hold_attention_constant_are_refused(head) -> None:
    own = Composite({**COMPOSITES['chefer'].rules, **_constant()})
    for rules in ('cp_lrp', own):
        with pytest.raises(ConfigError) as error:
            head(rules=rules)
        assert str(error.value) == (
            f'{head.__name__} reads the relevance of the attention, and these rules hold '
            "the attention constant: take rules='chefer' or 'attnlrp', or CPLRP, whose "
            'map is of the pixels'
        )
    for name in set(COMPOSITES) - {'cp_lrp'}:
        head(rules=name)


def _constant():
    (kind,) = (k for k in COMPOSITES['cp_lrp'].rules if k.__name__ == 'AttentionValue')
    return {kind: ToLast()}
