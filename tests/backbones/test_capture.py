"""capture: what it shows, what it leaves behind, and batched gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wsss_plugins.backbones import TimmViT, capture, capture_relevance
from wsss_plugins.errors import UserError
from wsss_plugins.lrp import COMPOSITES

SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)


@pytest.fixture
def vit() -> TimmViT:
    return TimmViT(**SMALL).eval().double()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


def fused(vit: TimmViT) -> list[bool]:
    return [block.attn.fused_attn for block in vit.vit.blocks]


def hooks(vit: TimmViT) -> int:
    return sum(len(m._forward_hooks) for m in vit.modules())


def test_shows_one_matrix_per_block(vit, images) -> None:
    with capture(vit, images) as trace:
        pass
    assert [tuple(a.shape) for a in trace.attn] == [(2, 3, 16, 16)] * 3
    assert trace.num_prefix == 1 and trace.grid == (3, 5)
    for attn in trace.attn:
        torch.testing.assert_close(attn.sum(-1), torch.ones_like(attn[..., 0]))
    assert trace.head_mean(start=1).shape == (2, 2, 16, 16)
    torch.testing.assert_close(
        trace.patch_affinity(), sum(a.mean(1)[:, 1:, 1:] for a in trace.attn)
    )


def test_first_block_by_its_formula(vit, images) -> None:
    """softmax(Q K' / sqrt(d)) of the first block, computed by hand."""
    with capture(vit, images) as trace:
        pass
    block = vit.vit.blocks[0]
    tokens, positions = vit.embed(images)
    tokens = block.norm1(tokens + positions)
    qkv = block.attn.qkv(tokens).reshape(2, 16, 3, 3, 8).permute(2, 0, 3, 1, 4)
    expected = (qkv[0] @ qkv[1].transpose(-2, -1) / 8**0.5).softmax(-1)
    torch.testing.assert_close(trace.attn[0], expected)


def test_same_tokens_as_without(vit, images) -> None:
    with capture(vit, images) as trace:
        pass
    torch.testing.assert_close(trace.tokens.patch, vit(images).patch)


def test_attention_is_unfused_only_while_it_looks(vit, images) -> None:
    before = fused(vit)
    assert any(before), 'timm fuses attention by default'
    seen = []
    handle = vit.vit.norm.register_forward_hook(lambda *_: seen.append(fused(vit)))
    with capture(vit, images):
        assert fused(vit) == before and hooks(vit) == 1
    handle.remove()
    assert seen == [[False] * 3]
    assert hooks(vit) == 0


def test_nothing_stays_after_an_exception(vit, images) -> None:
    before = fused(vit)
    with pytest.raises(ValueError, match='mine'), capture(vit, images):
        raise ValueError('mine')
    with pytest.raises(RuntimeError), capture(vit, images[:, :2]):
        pass
    assert hooks(vit) == 0 and fused(vit) == before
    assert torch.is_grad_enabled()


def test_gradient_mode(vit, images) -> None:
    with torch.no_grad(), capture(vit, images, gradients=True) as trace:
        assert trace.attn[0].requires_grad
    with capture(vit, images, gradients=False) as trace:
        assert not trace.attn[0].requires_grad
    assert torch.is_grad_enabled()


def test_blocks_that_stay_fused_are_refused(vit, images, monkeypatch) -> None:
    class Fused(TimmViT):
        explicit_attention = TimmViT.__mro__[1].explicit_attention

    other = Fused(**SMALL).eval().double()
    with pytest.raises(UserError) as error, capture(other, images):
        pass
    assert str(error.value) == (
        'the attention of 0 of 3 blocks of Fused was captured: the other blocks run '
        'fused attention; make explicit_attention() switch it off'
    )
    assert hooks(other) == 0


def test_relevance_without_attention_is_refused(vit, images, monkeypatch) -> None:
    explicit = TimmViT.explicit

    def hiding(self: TimmViT, start: int | None = None) -> nn.Module:
        view = explicit(self, start)
        forward = view.forward
        view.forward = lambda x: (forward(x)[0], forward(x)[1][1:])
        return view

    monkeypatch.setattr(TimmViT, 'explicit', hiding)
    for start, blocks in ((None, 3), (1, 2)):
        with (
            pytest.raises(UserError) as error,
            capture_relevance(vit, images, COMPOSITES['chefer'], start),
        ):
            pass
        assert str(error.value) == (
            f'the attention of {blocks - 1} of {blocks} blocks of TimmViT was captured: '
            'the other blocks run fused attention; make explicit() switch it off'
        )


def test_backbone_without_attention_is_refused(vit, images, monkeypatch) -> None:
    monkeypatch.setattr(vit, 'attention_modules', list)
    with pytest.raises(UserError) as error, capture(vit, images):
        pass
    assert str(error.value) == (
        'TimmViT has no attention: take a vision transformer, such as TimmViT'
    )


def test_batched_gradients_equal_a_loop(vit, images) -> None:
    head = nn.Linear(24, 5).double()
    cotangents = torch.zeros(3, 2, 5, dtype=torch.float64)
    cotangents[0, :, 0] = cotangents[1, 0, 3] = cotangents[2, 1, 4] = 1
    with capture(vit, images) as trace:
        scores = head(trace.tokens.prefix[:, 0])
        batched = trace.attention_gradients(scores, cotangents, start=1)
        single = [
            torch.autograd.grad((scores * c).sum(), trace.attn[1:], retain_graph=True)
            for c in cotangents
        ]
    assert len(batched) == 2
    for block in range(2):
        expected = torch.stack([gradients[block] for gradients in single])
        torch.testing.assert_close(batched[block], expected, rtol=1e-10, atol=1e-14)
    assert batched[0][0].abs().max() > 0 and (batched[0][1, 1] == 0).all()
    assert all(p.grad is None for p in [*vit.parameters(), *head.parameters()])
