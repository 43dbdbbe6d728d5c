"""ExViT: its blocks (eq. 6), the fused map (eq. 10), weights, captures, input sizes."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.backbones import (
    EMHA,
    ExViT,
    TimmViT,
    Tokens,
    capture,
    capture_relevance,
    emha,
)
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.lrp import COMPOSITES

SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=4, num_heads=3)
DEIT = dict(embed_dim=24, num_heads=2, depth=2)


def build(**kwargs: object) -> ExViT:
    """A small one in float64 whose attention is far from uniform, with biases."""
    model = ExViT(**SMALL, **kwargs).double().eval()
    for layer in emha_layers(model):
        torch.nn.init.normal_(layer.qkv.weight, std=0.3)
        if layer.bias is not None:
            torch.nn.init.normal_(layer.bias)
    return model


def emha_layers(model: ExViT) -> list[EMHA]:
    return [block.attn for block in model.vit.blocks]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


# The encoder --------------------------------------------------------------------------


@pytest.mark.parametrize('norm', emha.NORMS)
@pytest.mark.parametrize('bias', emha.BIASES)
@pytest.mark.parametrize('prefix', [0, 1])
def test_blocks_by_their_formulas(norm, bias, prefix, images) -> None:
    """Eq. 6 from the matrices that a capture shows; fast and plain agree."""
    model = build(norm=norm, bias=bias, class_token=bool(prefix))
    assert model.num_prefix == prefix
    with capture(model, images) as trace:
        pass
    tokens, positions = model.embed(images)
    tokens = tokens + positions
    length = 15 + prefix
    for block, attn, hidden in zip(
        model.vit.blocks, trace.attn, trace.hidden, strict=True
    ):
        assert attn.shape == (2, 3, length, length)
        qkv = block.attn.qkv(block.norm1(tokens)).reshape(2, length, 3, 3, 8)
        values = qkv[:, :, 2].transpose(1, 2)
        mixed = (attn @ values).transpose(1, 2).reshape(2, length, 24)
        tokens = tokens + block.attn.proj(mixed)
        tokens = tokens + block.mlp(block.norm2(tokens))
        torch.testing.assert_close(hidden, tokens)
    last = model.vit.norm(tokens)
    torch.testing.assert_close(model(images).prefix, last[:, :prefix])
    patch = model(images).patch.flatten(2).transpose(1, 2)
    torch.testing.assert_close(patch, last[:, prefix:])


def test_fast_and_plain_encoder_agree_in_float32() -> None:
    model = build().float()
    images = torch.randn(1, 3, 104, 120)  # 196 tokens for 8 channels: fast
    fast = model(images)
    with model.explicit_attention():
        plain = model(images)
    for a, b in ((fast.patch, plain.patch), (fast.fused, plain.fused)):
        assert not torch.equal(a, b)
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_scale_reaches_every_block() -> None:
    model = ExViT(**SMALL, scale='tokens', norm='matrix', bias_init=0.5)
    for layer in emha_layers(model):
        assert (layer.scale_by, layer.norm_over) == ('tokens', 'matrix')
        assert (layer.bias == 0.5).all()


def test_two_prefix_tokens_and_named_models() -> None:
    model = ExViT('deit_tiny_distilled_patch16_224', **DEIT, fuse_blocks=2).eval()
    with capture(model, torch.randn(1, 3, 48, 80)) as trace:
        assert [a.shape[-1] for a in trace.attn] == [17, 17]
    assert trace.tokens.prefix.shape == (1, 2, 24)
    assert trace.tokens.fused.shape == (1, 24, 3, 5)


def test_hybrid_keeps_its_stem() -> None:
    model = ExViT('vit_tiny_r_s16_p8_224', **DEIT, fuse_blocks=1)
    assert model.stride == 32
    assert model(torch.randn(1, 3, 64, 96)).patch.shape == (1, 24, 2, 3)


@pytest.mark.parametrize('bias', emha.BIASES)
def test_patches_in_another_order_are_the_same_patches(bias, images) -> None:
    model = build(bias=bias)
    order = torch.stack([torch.randperm(15), torch.randperm(15)])
    full, some = model(images), model(images, keep=order)
    torch.testing.assert_close(some.prefix, full.prefix)
    for n in range(2):
        for a, b in ((some.patch, full.patch), (some.fused, full.fused)):
            torch.testing.assert_close(a[n, :, 0], b[n].flatten(1)[:, order[n]])


def test_patches_left_out_have_no_influence() -> None:
    model = build(bias='matrix')
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    other = images.clone()
    other[..., :8, :8] = 9  # patch 0
    without = torch.arange(1, 16)[None]
    first, second = model(images, without), model(other, without)
    torch.testing.assert_close(first.fused, second.fused)
    assert not torch.allclose(model(images).prefix, model(other).prefix)


def test_matrix_bias_follows_the_grid(images) -> None:
    """On 3 x 5 patches the blocks use what resample_pairs makes of the 4 x 4 ones."""
    model = build(bias='matrix')
    with capture(model, images) as trace:
        pass
    layer = emha_layers(model)[0]
    tokens, positions = model.embed(images)
    qkv = layer.qkv(model.vit.blocks[0].norm1(tokens + positions))
    q, k, _ = qkv.reshape(2, 16, 3, 3, 8).permute(2, 0, 3, 1, 4)
    bias = emha.resample_pairs(layer.bias, (4, 4), (3, 5), 1)
    torch.testing.assert_close(
        trace.attn[0], emha.attention_matrix(q, k, bias, layer.norm_over)
    )


def test_bfloat16_training_step() -> None:
    model = ExViT(**SMALL)
    images = torch.randn(2, 3, 40, 64)
    exact = model(images)
    with torch.autocast('cpu', torch.bfloat16):
        tokens = model(images)
    assert (tokens.fused - exact.fused).abs().max() < 0.1
    (tokens.fused.float().square().mean() + tokens.prefix.float().mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert all(layer.bias.grad.abs().max() > 0 for layer in emha_layers(model))


# The fused map ------------------------------------------------------------------------


@pytest.mark.parametrize('blocks', [1, 2, 4])
@pytest.mark.parametrize('norm', [True, False])
def test_fused_is_the_mean_over_the_last_blocks(blocks, norm, images) -> None:
    model = build(fuse_blocks=blocks, fuse_norm=norm)
    with capture(model, images) as trace:
        pass
    total = torch.zeros(2, 24, 3, 5, dtype=torch.float64)
    for hidden in trace.hidden[4 - blocks :]:
        hidden = model.vit.norm(hidden) if norm else hidden
        for row in range(3):
            for column in range(5):
                total[..., row, column] += hidden[:, 1 + 5 * row + column]
    torch.testing.assert_close(trace.tokens.fused, total / blocks)
    torch.testing.assert_close(model.fuse(trace.hidden, (3, 5), blocks), total / blocks)


def test_one_block_fused_is_the_last_block(images) -> None:
    tokens = build(fuse_blocks=1)(images)
    torch.testing.assert_close(tokens.fused, tokens.patch)
    bare = build(fuse_blocks=1, final_norm=False)
    assert not bare.fuse_norm
    torch.testing.assert_close(bare(images).fused, bare(images).patch)


def test_any_number_of_blocks_at_test_time(images) -> None:
    """Figure 8: another K from one forward pass equals a model built with that K."""
    model = build(fuse_blocks=3)
    with capture(model, images) as trace:
        pass
    for blocks in range(1, 5):
        model.fuse_blocks = blocks
        expected = model(images).fused
        torch.testing.assert_close(
            model.fuse(trace.hidden, trace.grid, blocks), expected
        )


def test_fused_in_the_place_of_the_patch_tokens(images) -> None:
    model = build(patch='fused')
    tokens = model(images)
    assert torch.equal(tokens.patch, tokens.fused)
    model.patch = 'last'
    torch.testing.assert_close(model(images).fused, tokens.fused)
    assert not torch.allclose(model(images).patch, tokens.patch)


def test_other_backbones_have_no_fused_map() -> None:
    assert TimmViT(**SMALL)(torch.randn(1, 3, 32, 32)).fused is None
    assert Tokens(torch.zeros(1, 0, 2), torch.zeros(1, 2, 1, 1)).fused is None


# Captures -----------------------------------------------------------------------------


def test_capture_shows_signed_rows_of_unit_length(images) -> None:
    model = build()
    with capture(model, images) as trace:
        pass
    assert len(trace.attn) == 4
    for attn in trace.attn:
        assert attn.min() < 0 < attn.max()
        torch.testing.assert_close(attn.norm(dim=-1), torch.ones_like(attn[..., 0]))
    torch.testing.assert_close(trace.tokens.patch, model(images).patch)


def test_capture_leaves_nothing_behind(images) -> None:
    model = build()
    layers = emha_layers(model)
    layers[1].fused_attn = False  # as it was before
    with pytest.raises(ValueError, match='mine'), capture(model, images):
        raise ValueError('mine')
    assert [layer.fused_attn for layer in layers] == [True, False, True, True]
    assert not any(m._forward_hooks for m in model.modules())


def test_gradients_of_the_matrices(images) -> None:
    """Of two classes at once; by finite differences along one entry."""
    model = build()
    with capture(model, images) as trace:
        scores = trace.tokens.fused.mean((2, 3))[:, :2]
        cotangents = torch.eye(2, dtype=torch.float64)[:, None].expand(-1, 2, -1)
        found = trace.attention_gradients(scores, cotangents, start=3)[0]
        for k in range(2):
            (single,) = torch.autograd.grad(
                scores, trace.attn[3], cotangents[k], retain_graph=True
            )
            torch.testing.assert_close(found[k], single)

    def nudged(step: float) -> torch.Tensor:
        def change(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[0, 1, 4, 6] += step
            return output

        handle = emha_layers(model)[3].attn_drop.register_forward_hook(change)
        with model.explicit_attention():
            result = model(images).fused.mean((2, 3))[0, 0]
        handle.remove()
        return result

    slope = (nudged(1e-5) - nudged(-1e-5)) / 2e-5
    torch.testing.assert_close(found[0, 0, 1, 4, 6], slope, rtol=1e-6, atol=1e-12)


def test_relevance_propagation_is_refused(images) -> None:
    with (
        pytest.raises(UserError) as error,
        capture_relevance(build(), images, COMPOSITES['chefer']),
    ):
        pass
    assert str(error.value).startswith('relevance propagation has no rule for E-MHA')
    assert 'InputXGradient' in str(error.value) and '\n' not in str(error.value)


# Mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    'config, message',
    [
        (dict(fuse_blocks=5), 'the last 5 blocks cannot be fused: the encoder has 4, give 1 to 4'),
        (dict(fuse_blocks=0), 'the last 0 blocks cannot be fused'),
        (dict(patch='first'), "patch must be 'last' or 'fused', not 'first'"),
        (dict(norms='key'), "ExViT takes no argument 'norms': did you mean 'norm'?"),
        (dict(norm='rows'), "there is no norm 'rows'"),
        (dict(fuse_norm=True, final_norm=False), 'fuse_norm=True needs the last LayerNorm'),
        (dict(pretrained=True), 'pretrained=True needs the name of a timm model'),
        (dict(attn_layer='diff'), "takes the place of timm's plain attention, not of DiffAttention"),
    ],
)  # fmt: skip
def test_mistakes(config, message) -> None:
    with pytest.raises(ConfigError) as error:
        ExViT(**{**SMALL, **config})
    assert message in str(error.value)
    assert '\n' not in str(error.value)


def test_more_blocks_at_test_time_than_there_are(images) -> None:
    model = build()
    with capture(model, images) as trace, pytest.raises(ConfigError, match='has 4'):
        model.fuse(trace.hidden, trace.grid, 5)
