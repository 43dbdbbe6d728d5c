"""capture of chosen blocks, of the mean over heads, and with a graph that begins late."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wsss_plugins.backbones import TimmViT, capture, capture_relevance
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.lrp import COMPOSITES

SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=4, num_heads=3)


@pytest.fixture
def vit() -> TimmViT:
    return TimmViT(**SMALL).eval().double()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


def fused_while_running(vit: TimmViT, images: torch.Tensor, **kwargs) -> list[bool]:
    """Which blocks ran fused attention inside a capture."""
    fused: dict[int, bool] = {}
    handles = [
        block.register_forward_pre_hook(
            lambda module, _, i=i: fused.update({i: module.attn.fused_attn})
        )
        for i, block in enumerate(vit.vit.blocks)
    ]
    with capture(vit, images, **kwargs):
        pass
    for handle in handles:
        handle.remove()
    return [fused[i] for i in range(len(handles))]


def test_chosen_blocks(vit, images) -> None:
    with capture(vit, images) as every:
        pass
    with capture(vit, images, attention=[3, 1, 3]) as some:
        pass
    assert every.blocks == (0, 1, 2, 3) and some.blocks == (1, 3)
    for block, attn in zip(some.blocks, some.attn, strict=True):
        torch.testing.assert_close(attn, every.attn[block])
    torch.testing.assert_close(some.tokens.patch, every.tokens.patch)
    torch.testing.assert_close(some.head_mean(2), every.head_mean(3))
    torch.testing.assert_close(some.attention_of([3])[0], every.attn[3])
    torch.testing.assert_close(
        every.patch_affinity([1, 3]), every.attn[1].mean(1)[:, 1:, 1:]
        + every.attn[3].mean(1)[:, 1:, 1:],
    )  # fmt: skip
    torch.testing.assert_close(some.patch_affinity(), every.patch_affinity([1, 3]))


def test_negative_blocks_count_from_the_end_everywhere(vit, images) -> None:
    """``-2`` means the last two blocks of the encoder, whichever were captured."""
    with capture(vit, images, gradients=True) as every:
        scores = every.tokens.prefix[:, 0, :5]
        slots = torch.eye(5, dtype=torch.float64)[:1, None].repeat(1, 2, 1)
        assert every.depth == 4
        assert len(every.attention_from(-2)) == 2
        torch.testing.assert_close(every.head_mean(-2), every.head_mean(2))
        gradients = every.attention_gradients(scores, slots, -1)
        torch.testing.assert_close(
            gradients, every.attention_gradients(scores, slots, 3)
        )
        torch.testing.assert_close(
            every.patch_affinity([-1, 0]), every.patch_affinity([3, 0])
        )
        assert every.attention_of([-4])[0] is every.attn[0]
    with capture(vit, images, attention=[-3, 1, -1], heads=[-1]) as some:
        assert some.blocks == (1, 3)
        assert [a.shape[1] for a in some.attn] == [1, 3]
        torch.testing.assert_close(some.head_mean(-2), every.head_mean(3))
    with capture(vit, images, gradients=True, graph_from=-2) as late:
        assert [a.requires_grad for a in late.attn] == [False, False, True, True]
    with capture_relevance(vit, images, COMPOSITES['attnlrp'], -1) as last:
        assert last.blocks == (3,) and last.depth == 4


@pytest.mark.parametrize('start', [4, -5, 1.0])
def test_a_start_that_is_not_there(vit, images, start) -> None:
    """Before, ``head_mean(-5)`` was the mean of all blocks and ``head_mean(4)`` failed."""
    with capture(vit, images) as trace:
        for read in (trace.head_mean, trace.attention_from):
            with pytest.raises(
                ConfigError, match=r'blocks 0 to 3 \(or -4 to -1\), not'
            ):
                read(start)
        with pytest.raises(ConfigError, match=rf'not {start}'):
            trace.patch_affinity([start])
    with (
        capture(vit, images, attention=[0]) as first,
        pytest.raises(UserError, match='no attention from block 2 on was captured'),
    ):
        first.head_mean(-2)


def test_the_others_run_fused(vit, images) -> None:
    assert fused_while_running(vit, images) == [False] * 4
    assert fused_while_running(vit, images, attention=[1, 3]) == [
        True,
        False,
        True,
        False,
    ]
    assert fused_while_running(vit, images, attention=[]) == [True] * 4
    assert all(block.attn.fused_attn for block in vit.vit.blocks)


def test_a_backbone_that_unfuses_all_or_none(images) -> None:
    """One of before this argument was there: it still shows all its blocks."""

    class Older(TimmViT):
        def explicit_attention(self):
            return super().explicit_attention()

    older = Older(**SMALL).eval().double()
    newer = TimmViT(**SMALL).eval().double()
    newer.load_state_dict(older.state_dict())
    with capture(older, images) as trace, capture(newer, images) as expected:
        assert trace.blocks == expected.blocks == (0, 1, 2, 3)
        torch.testing.assert_close(trace.attn, expected.attn)


def test_blocks_that_are_not_there(vit, images) -> None:
    for wrong in (4, -5):
        for argument in (dict(attention=[wrong]), dict(heads=[wrong]),
                         dict(gradients=True, graph_from=wrong)):  # fmt: skip
            with pytest.raises(ConfigError) as error, capture(vit, images, **argument):
                pass
            assert str(error.value) == (
                f'the backbone has blocks 0 to 3 (or -4 to -1), not {wrong} ({error.value.token})'
            )
            assert error.value.token in argument
    with (
        capture(vit, images, attention=[2]) as trace,
        pytest.raises(UserError) as error,
    ):
        trace.patch_affinity([0, 2])
    assert str(error.value) == (
        'the attention of block 0 was not captured, that of blocks [2] was: name it in '
        'capture(attention=...)'
    )
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in vit.modules())


@pytest.mark.parametrize('heads', [False, [2]])
def test_mean_over_heads(vit, images, heads) -> None:
    with capture(vit, images) as whole:
        whole.head_mean().square().sum().backward()
    expected = [
        p.grad.clone() for p in vit.vit.blocks.parameters() if p.grad is not None
    ]
    vit.zero_grad()
    with capture(vit, images, heads=heads) as mean:
        mean.head_mean().square().sum().backward()
    found = [p.grad for p in vit.vit.blocks.parameters() if p.grad is not None]
    assert [a.shape[1] for a in mean.attn] == ([1] * 4 if not heads else [1, 1, 3, 1])
    torch.testing.assert_close(mean.head_mean(), whole.head_mean())
    torch.testing.assert_close(mean.patch_affinity(), whole.patch_affinity())
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('frozen', [False, True])
@pytest.mark.parametrize('start', [0, 1, 3])
def test_graph_that_begins_late(vit, images, start, frozen) -> None:
    """The same values and gradients; nothing before the block is in the graph."""
    head = nn.Linear(24, 5).double()
    slots = torch.eye(5, dtype=torch.float64)[:2, None].repeat(1, 2, 1)
    with capture(vit, images) as whole:
        scores = head(whole.tokens.prefix[:, 0])
        expected = whole.attention_gradients(scores, slots, start)
    vit.requires_grad_(not frozen or start == 0)
    with torch.no_grad():
        with capture(vit, images, gradients=True, graph_from=start) as trace:
            assert torch.is_grad_enabled()
            found = trace.attention_gradients(
                head(trace.tokens.prefix[:, 0]), slots, start
            )
        assert not torch.is_grad_enabled()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(trace.attn, whole.attn)
    assert [a.requires_grad for a in trace.attn] == [b >= start for b in range(4)]
    assert [h.requires_grad for h in trace.hidden] == [b >= start for b in range(4)]
    assert all(p.grad is None for p in vit.parameters())


def test_graph_only_where_gradients_are_wanted(vit, images) -> None:
    with capture(vit, images, gradients=False, graph_from=2) as trace:
        assert not any(a.requires_grad for a in trace.attn)
    assert torch.is_grad_enabled()


def test_gradient_mode_after_an_exception(vit, images, monkeypatch) -> None:
    def fail(*_):
        assert torch.is_grad_enabled()
        raise RuntimeError('on purpose')

    monkeypatch.setattr(vit.vit.blocks[3], 'forward', fail)
    with torch.no_grad():
        late = capture(vit, images, gradients=True, graph_from=2)
        with pytest.raises(RuntimeError, match='on purpose'), late:
            pass
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert not any(m._forward_pre_hooks for m in vit.modules())


def test_backbone_that_does_not_name_its_blocks(images) -> None:
    """All of it is in the graph."""

    class Unnamed(TimmViT):
        def forward(self, images, keep=None):
            tokens, positions = self.embed(images)
            return self.finish(self.vit.blocks(tokens + positions), self.grid(images))

        def blocks(self):
            return []

    vit = Unnamed(**SMALL).eval().double()
    with capture(vit, images, graph_from=2) as trace:
        assert all(a.requires_grad for a in trace.attn) and trace.hidden == []
