"""E-MHA: its formulas in slow float64, the bound of eq. 5, and the fast path."""

from __future__ import annotations

import math

import pytest
import torch
from timm.layers import Attention
from torch import Tensor

from wsss_plugins.backbones import EMHA, emha
from wsss_plugins.errors import ConfigError


@pytest.fixture(autouse=True)
def always_fast(monkeypatch) -> None:
    """The fast path wherever it is possible, however few the tokens."""
    monkeypatch.setattr(emha, 'FAST_FROM', 0)


def build(
    norm: str, bias: str, dtype: torch.dtype = torch.float64, **kwargs: object
) -> EMHA:
    layer = EMHA(24, 3, norm, bias, grid=(3, 5), **kwargs).to(dtype).eval()
    if layer.bias is not None:
        torch.nn.init.normal_(layer.bias)
    return layer


def slow(layer: EMHA, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Eqs. 1 to 4, number by number; ``bias`` is ``(N, heads, T, T)``."""
    many, length, dim = x.shape
    wide = dim // layer.num_heads
    result = torch.empty_like(x)
    for n in range(many):
        mixed = torch.zeros(length, dim, dtype=x.dtype)
        for h in range(layer.num_heads):
            part = slice(h * wide, (h + 1) * wide)
            q, k, v = (
                x[n] @ w[part].T + b[part]
                for w, b in zip(
                    layer.qkv.weight.split(dim), layer.qkv.bias.split(dim), strict=True
                )
            )
            table = torch.zeros(length, length, dtype=x.dtype)
            for i in range(length):
                for j in range(length):
                    table[i, j] = (q[i] * k[j]).sum() / math.sqrt(wide)
                    if bias is not None:
                        table[i, j] += bias[n, h, i, j]
            for i in range(length):
                for j in range(length):
                    over = {'key': table[i], 'query': table[:, j], 'matrix': table}
                    length_of = over[layer.norm_over].square().sum().sqrt()
                    mixed[i, part] += table[i, j] / length_of * v[j]
        result[n] = mixed @ layer.proj.weight.T + layer.proj.bias
    return result


def both(layer: EMHA, x: Tensor) -> tuple[Tensor, Tensor]:
    """The plain output and the fast one."""
    layer.fused_attn = False
    plain = layer(x)
    layer.fused_attn = True
    return plain, layer(x)


def tensors(length: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.randn(2, 3, length, 8, dtype=dtype) for _ in range(3)]


# The formulas -------------------------------------------------------------------------


@pytest.mark.parametrize('norm', emha.NORMS)
@pytest.mark.parametrize('bias', emha.BIASES)
def test_equations_number_by_number(norm, bias) -> None:
    layer = build(norm, bias)
    x = torch.randn(2, 16, 24, dtype=torch.float64)
    table = None
    if bias == 'head':
        table = layer.bias[None, :, None, None].expand(2, -1, 16, 16)
    elif bias == 'matrix':
        table = layer.bias.expand(2, -1, -1, -1)
    with torch.no_grad():
        expected = slow(layer, x, table)
        for output in both(layer, x):
            torch.testing.assert_close(output, expected, rtol=1e-11, atol=1e-12)


def test_what_has_unit_length() -> None:
    q, k, _ = tensors(7)
    sums = {
        norm: emha.attention_matrix(q, k, None, norm).square() for norm in emha.NORMS
    }
    ones = torch.ones(2, 3, 7, dtype=torch.float64)
    torch.testing.assert_close(sums['key'].sum(-1), ones)
    torch.testing.assert_close(sums['query'].sum(-2), ones)
    torch.testing.assert_close(sums['matrix'].sum((-2, -1)), ones[..., 0])


def test_eq_5_for_norms_of_matrices_needs_the_scale_of_tokens() -> None:
    """||A|| is sqrt(T); where every row of A is parallel to V, ||S|| is sqrt(T) ||V||."""
    q, k, _ = tensors(9)
    norms = emha.attention_matrix(q, k, None, 'key').flatten(2).norm(dim=2)
    torch.testing.assert_close(norms, torch.full_like(norms, 3))
    for scale, ratio in (('none', 3.0), ('tokens', 1.0)):
        layer = EMHA(24, 3, bias_init=1.0, scale=scale).double()
        torch.nn.init.zeros_(layer.qkv.weight)
        layer.qkv.bias.data = (
            torch.tensor([0.0, 0.0, 1.0]).double().repeat_interleave(24)
        )
        layer.proj = torch.nn.Identity()
        output = layer(torch.zeros(1, 9, 24, dtype=torch.float64))
        expected = torch.full_like(output, ratio)  # V is 1 everywhere
        torch.testing.assert_close(output, expected)


def test_a_large_bias_is_near_uniform_averaging() -> None:
    layer = EMHA(24, 3, bias_init=1e6).double()
    seen = []
    layer.attn_drop.register_forward_hook(lambda *a: seen.append(a[2]))
    layer.fused_attn = False
    layer(torch.randn(2, 16, 24, dtype=torch.float64))
    torch.testing.assert_close(
        seen[0], torch.full_like(seen[0], 1 / 4), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize('length', [9, 16, 64])
def test_scale_by_tokens_makes_uniform_attention_a_mean(length) -> None:
    """Of the values, as after a softmax, whatever the number of tokens; both paths."""
    layer = EMHA(24, 3, bias_init=1e6, scale='tokens').double()
    x = torch.randn(2, length, 24, dtype=torch.float64)
    mean = layer.qkv(x)[..., 48:].mean(1, keepdim=True)
    for output in both(layer, x):
        torch.testing.assert_close(
            output, layer.proj(mean).expand_as(output), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize('norm', emha.NORMS)
def test_scale_divides_by_the_root_of_the_tokens(norm) -> None:
    layer = build(norm, 'head')
    x = torch.randn(2, 16, 24, dtype=torch.float64)
    printed = layer(x) - layer.proj.bias
    layer.scale_by = 'tokens'
    for output in both(layer, x):
        torch.testing.assert_close(output - layer.proj.bias, printed / 4)


# Equation 5 ---------------------------------------------------------------------------


@pytest.mark.parametrize('norm', ['key', 'matrix'])
@pytest.mark.parametrize('seed', range(20))
def test_output_is_bounded_by_the_values(norm, seed) -> None:
    """|S_ic| <= ||V_:c|| for any weights, biases and scales (Cauchy-Schwarz)."""
    generator = torch.Generator().manual_seed(seed)
    length = int(torch.randint(1, 40, (), generator=generator))
    scale = 10 ** torch.empty(4, dtype=torch.float64).uniform_(
        -3, 3, generator=generator
    )
    q, k, v, b = (
        s * torch.randn(2, 3, n, c, generator=generator, dtype=torch.float64)
        for s, n, c in zip(scale, (length,) * 3 + (1,), (8, 8, 8, 1), strict=True)
    )
    bound = v.norm(dim=-2, keepdim=True) * (1 + 1e-12)
    for bias in (None, b):
        plain = emha.attention_matrix(q, k, bias, norm) @ v
        assert (plain.abs() <= bound).all()
        assert (emha.fast_mix(q, k, v, bias, norm).abs() <= bound).all()


def test_the_bound_is_reached_by_aligned_values() -> None:
    """Values that equal a row of A reach it: what the paper calls alignment."""
    q, k, _ = tensors(8)
    attn = emha.attention_matrix(q, k, None, 'key')
    values = attn.transpose(-2, -1)  # column i of V is row i of A
    reached = (attn @ values).diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(reached, values.norm(dim=-2))


def test_the_bound_does_not_hold_for_the_norm_over_queries() -> None:
    """One query with all the weight: its row is all ones, and S the sum of V."""
    q = torch.zeros(1, 1, 5, 1)
    q[..., 2, :] = 1
    k, v = torch.ones(1, 1, 5, 1), torch.ones(1, 1, 5, 1)
    output = emha.attention_matrix(q, k, None, 'query') @ v
    torch.testing.assert_close(output[0, 0, :, 0], torch.tensor([0.0, 0, 5, 0, 0]))
    assert output.max() > v.norm()
    for _ in range(20):  # what holds instead
        q, k, v = tensors(9)
        output = emha.attention_matrix(q, k, None, 'query') @ v
        assert (output.abs() <= v.abs().sum(-2, keepdim=True)).all()


# The bias -----------------------------------------------------------------------------


def test_biases_start_where_they_are_told() -> None:
    assert EMHA(24, 3).bias.tolist() == [0, 0, 0]
    assert EMHA(24, 3, bias_init=0.5).bias.tolist() == [0.5] * 3
    matrix = EMHA(24, 3, bias='matrix', grid=(2, 3), num_prefix=2, bias_init=2.0)
    assert matrix.bias.shape == (3, 8, 8) and (matrix.bias == 2).all()
    assert EMHA(24, 3, bias='none').bias is None


@pytest.mark.parametrize('num_prefix', [0, 1, 2])
@pytest.mark.parametrize('new', [(3, 5), (6, 4), (2, 9), (1, 1)])
def test_resampled_products_are_products_of_resampled_maps(num_prefix, new) -> None:
    """Bilinear in queries and keys: f(i) g(j) becomes f'(i) g'(j); prefixes stay."""
    maps = torch.randn(2, 15, dtype=torch.float64)
    prefix = torch.randn(2, num_prefix, dtype=torch.float64)
    f, g = torch.cat([prefix, maps], 1)
    resized = torch.nn.functional.interpolate(
        maps.reshape(1, 2, 3, 5), size=new, mode='bilinear', align_corners=False
    )
    wide_f, wide_g = torch.cat([prefix, resized[0].flatten(1)], 1)
    result = emha.resample_pairs((f[:, None] * g)[None], (3, 5), new, num_prefix)
    torch.testing.assert_close(result[0], wide_f[:, None] * wide_g)


def test_bias_of_some_patches() -> None:
    layer = build('key', 'matrix', num_prefix=1)
    assert layer.bias_on((3, 5)) is None  # as it stands
    assert build('key', 'head').bias_on((4, 4)) is None
    keep = torch.tensor([[4, 0, 7], [14, 13, 2]])
    chosen = layer.bias_on((3, 5), keep)
    assert chosen.shape == (2, 3, 4, 4)
    for n in range(2):
        where = [0, *(1 + keep[n]).tolist()]
        for a, i in enumerate(where):
            for b, j in enumerate(where):
                assert torch.equal(chosen[n, :, a, b], layer.bias[:, i, j])


# In timm's place ----------------------------------------------------------------------


def test_takes_the_layers_of_timm() -> None:
    norms = dict(qk_norm=True, scale_norm=True, norm_layer=torch.nn.LayerNorm)
    attn = Attention(24, 3, qkv_bias=True, attn_drop=0.1, proj_drop=0.2, **norms)
    before = attn.state_dict()
    layer = EMHA.of(attn, bias_init=1.0)
    after = layer.state_dict()
    assert after.pop('bias').tolist() == [1, 1, 1]
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert (layer.attn_drop.p, layer.proj_drop.p) == (0.1, 0.2)
    x = torch.randn(2, 9, 24)
    plain, fast = both(layer.double().eval(), x.double())
    torch.testing.assert_close(plain, fast)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(norm='row'), "there is no norm 'row': Allowed: key, matrix, query"),
        (dict(norm='keys'), "there is no norm 'keys': did you mean 'key'?"),
        (dict(bias='heads'), "there is no bias 'heads': did you mean 'head'?"),
        (dict(scale='token'), "there is no scale 'token': did you mean 'tokens'?"),
        (dict(bias='none', bias_init=1.0), "bias='none' has no start: leave bias_init=1.0 out"),
        (dict(bias='matrix'), "bias='matrix' needs the grid of the patches: give grid=(h, w)"),
        (dict(num_heads=5), '5 heads do not share 24 channels evenly'),
    ],
)  # fmt: skip
def test_mistakes(arguments, message) -> None:
    with pytest.raises(ConfigError) as error:
        EMHA(24, **{'num_heads': 3, **arguments})
    assert message in str(error.value)


def test_other_attention_is_refused() -> None:
    for attn in (torch.nn.Linear(3, 3), Attention(24, 3, gated=True)):
        with pytest.raises(
            ConfigError, match="takes the place of timm's plain attention"
        ):
            EMHA.of(attn)
