"""The fast path of E-MHA: equal to the plain one, safe, and taken where it should be."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from wsss_plugins.backbones import EMHA, emha
from wsss_plugins.errors import ConfigError

LINEAR = ('head', 'none')  # biases that allow the fast path


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


def both(layer: EMHA, x: Tensor) -> tuple[Tensor, Tensor]:
    """The plain output and the fast one."""
    layer.fused_attn = False
    plain = layer(x)
    layer.fused_attn = True
    return plain, layer(x)


def tensors(length: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.randn(2, 3, length, 8, dtype=dtype) for _ in range(3)]


# Fast equals plain --------------------------------------------------------------------


@pytest.mark.parametrize('norm', emha.NORMS)
@pytest.mark.parametrize('bias', LINEAR)
@pytest.mark.parametrize('length', [1, 2, 15, 300])
@pytest.mark.parametrize(
    'dtype, tolerance', [(torch.float32, 1e-5), (torch.float64, 1e-12)]
)
def test_fast_equals_plain(norm, bias, length, dtype, tolerance) -> None:
    layer = build(norm, bias, dtype)
    plain, fast = both(layer, torch.randn(2, length, 24, dtype=dtype))
    assert (fast - plain).abs().max() <= tolerance * plain.abs().max()


@pytest.mark.parametrize('norm', emha.NORMS)
@pytest.mark.parametrize('case', ['common', 'cancelled', 'dominant', 'stretched'])
def test_fast_does_not_cancel(norm, case) -> None:
    """Keys with a large mean, a bias that undoes it or drowns it, uneven keys."""
    q, k, v = tensors(200)
    direction = torch.nn.functional.normalize(
        torch.randn(8, dtype=torch.float64), dim=0
    )
    bias = torch.zeros(3, 1, 1, dtype=torch.float64)
    along = (k @ direction)[..., None]
    if case == 'stretched':
        k = k + 9 * along * direction
        q = q - (q @ direction)[..., None] * direction
    elif case == 'dominant':
        bias += 1000
    else:
        k = k + 30 * direction
    if case == 'cancelled':
        q = q - ((q @ direction)[..., None] - 3) * direction
        bias -= 90 / math.sqrt(8)
    expected = emha.attention_matrix(q, k, bias, norm) @ v
    single = (t.float() for t in (q, k, v, bias))
    error = (emha.fast_mix(*single, norm) - expected).norm(dim=-1)
    assert error.max() <= 1e-5 * expected.norm(dim=-1).max()


def stretched(ratio: float, norm: str, length: int = 400) -> list[Tensor]:
    """Keys that spread ``ratio`` times as far in one direction; no query points there."""
    q, k, v = (torch.randn(2, 2, length, 64, dtype=torch.float64) for _ in range(3))
    direction = torch.nn.functional.normalize(
        torch.randn(64, dtype=torch.float64), dim=0
    )
    k = k + (ratio - 1) * (k @ direction)[..., None] * direction
    q = q - (q @ direction)[..., None] * direction
    q, k = (k, q) if norm == 'query' else (q, k)
    return [q, k, v, torch.zeros(2, 1, 1, dtype=torch.float64)]


@pytest.mark.parametrize('norm', emha.NORMS)
@pytest.mark.parametrize(
    'ratio, tolerance', [(1, 1e-6), (10, 5e-6), (100, 5e-4), (1e3, 0.03)]
)
def test_equal_up_to_the_ratio_that_the_docs_state(norm, ratio, tolerance) -> None:
    q, k, v, bias = stretched(ratio, norm)
    expected = emha.attention_matrix(q, k, bias, norm) @ v
    fast = emha.fast_mix(*(t.float() for t in (q, k, v, bias)), norm)
    error = (fast - expected).norm(dim=-1).max()
    assert error <= tolerance * expected.norm(dim=-1).max()


@pytest.mark.parametrize('norm', emha.NORMS)
@pytest.mark.parametrize('ratio', [1e1, 1e2, 1e3, 3e3, 5e3, 1e4, 3e4, 1e5, 1e7])
def test_bounded_where_float32_ends(norm, ratio) -> None:
    """``|S_ic| <= ||V_:c||``, or the sum of ``|V_:c|``, for any keys; gradients are finite."""
    q, k, v, bias = (t.float().requires_grad_() for t in stretched(ratio, norm))
    found = emha.fast_mix(q, k, v, bias, norm)
    bound = v.norm(p=1 if norm == 'query' else 2, dim=-2, keepdim=True)
    assert (found.abs() <= 1.001 * bound).all()
    grads = torch.autograd.grad(found.square().sum(), [q, k, v, bias])
    assert all(torch.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize('norm', emha.NORMS)
def test_the_floor_changes_no_bit_of_ordinary_keys(norm, monkeypatch) -> None:
    q, k, v, bias = (t.float() for t in stretched(20, norm))
    found = emha.fast_mix(q, k, v, bias, norm)
    monkeypatch.setattr(torch, 'maximum', lambda spread, floor: spread)
    assert torch.equal(emha.fast_mix(q, k, v, bias, norm), found)


@pytest.mark.parametrize('fast', [True, False])
@pytest.mark.parametrize('size', [1.0, 1e-3, 1e-6, 1e-9, 0.0])
def test_bound_of_the_gradient(size, fast) -> None:
    """Of S by b, that is by W along the rows: at most 2 ||V|| / max(n, 1e-6) a row."""
    q, k, v = (torch.randn(1, 1, 9, 4, dtype=torch.float64) for _ in range(3))
    q = size * q
    rows = ((q * 0.5) @ k.transpose(-2, -1)).norm(dim=-1)
    bias = torch.zeros(1, 1, 1, dtype=torch.float64, requires_grad=True)
    mixed = (
        emha.fast_mix(q, k, v, bias, 'key')
        if fast
        else emha.attention_matrix(q, k, bias, 'key') @ v
    )
    bounds = 2 * v.norm() * 3 / rows.clamp_min(emha.EPSILON)  # b moves a row by sqrt(T)
    for row in range(9):
        for channel in range(4):
            (grad,) = torch.autograd.grad(
                mixed[0, 0, row, channel], bias, retain_graph=True
            )
            assert grad.abs() <= bounds[0, 0, row] and torch.isfinite(grad)


@pytest.mark.parametrize('scale', emha.SCALES)
def test_no_token_is_one_line(scale) -> None:
    with pytest.raises(ConfigError, match=r'x \(2, 0, 24\) has none: give images'):
        build('key', 'head', torch.float32, scale=scale)(torch.zeros(2, 0, 24))


@pytest.mark.parametrize('norm', emha.NORMS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(norm, dtype) -> None:
    """Large queries and keys, whose products and squares pass 65,504, and many tokens."""
    q, k, v = (t.to(dtype) for t in tensors(400))
    q, k = 200 * q, 200 * k
    bias = torch.full((3, 1, 1), 5.0, dtype=dtype)
    wide = [t.double() for t in (q, k, v, bias)]
    expected = emha.attention_matrix(*wide[:2], wide[3], norm) @ wide[2]
    fast = emha.fast_mix(q, k, v, bias, norm)
    plain = emha.attention_matrix(q, k, bias, norm).to(dtype) @ v
    scale = expected.abs().max()
    eps = torch.finfo(dtype).eps
    assert fast.dtype == plain.dtype == dtype
    assert (fast - expected).abs().max() <= eps * scale
    assert (plain - expected).abs().max() <= 4 * eps * scale


@pytest.mark.parametrize('norm', emha.NORMS)
def test_norms_stay_in_float32_under_autocast(norm) -> None:
    layer = build(norm, 'head', torch.float32)
    x = torch.randn(2, 50, 24)
    with torch.no_grad():
        expected = layer(x)
        with torch.autocast('cpu', torch.bfloat16):
            plain, fast = both(layer, x)
            seen = emha.attention_matrix(*torch.randn(2, 1, 1, 5, 8), None, norm)
    assert plain.dtype == fast.dtype == torch.bfloat16 and seen.dtype == torch.float32
    for output in (plain, fast):
        assert (output - expected).abs().max() <= 0.03 * expected.abs().max()


# Gradients ----------------------------------------------------------------------------


@pytest.mark.parametrize('norm', emha.NORMS)
@pytest.mark.parametrize('bias', LINEAR)
def test_gradients_of_both_paths(norm, bias) -> None:
    layer = build(norm, bias)
    x = torch.randn(2, 40, 24, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 40, 24, dtype=torch.float64)
    leaves = [x, *layer.parameters()]
    plain, fast = (
        torch.autograd.grad((output * weight).sum(), leaves)
        for output in both(layer, x)
    )
    assert all(g.abs().max() > 0 for g in plain)
    for a, b in zip(plain, fast, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize('norm', emha.NORMS)
@pytest.mark.parametrize('with_bias', [True, False])
def test_gradients_by_finite_differences(norm, with_bias) -> None:
    q, k, v = (torch.randn(1, 2, 4, 3, dtype=torch.float64) for _ in range(3))
    bias = torch.randn(2, 1, 1, dtype=torch.float64) if with_bias else None

    def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        return emha.attention_matrix(q, k, bias, norm) @ v

    def fast(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        return emha.fast_mix(q, k, v, bias, norm)

    inputs = [t if t is None else t.requires_grad_() for t in (q, k, v, bias)]
    assert torch.autograd.gradcheck(plain, inputs)
    assert torch.autograd.gradcheck(fast, inputs)


# Zero norms ---------------------------------------------------------------------------


@pytest.mark.parametrize('norm', emha.NORMS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('fused', [True, False])
def test_zero_weights_give_zero_and_finite_gradients(norm, dtype, fused) -> None:
    layer = EMHA(24, 3, norm).to(dtype)
    layer.fused_attn = fused
    torch.nn.init.zeros_(layer.qkv.weight[:48])
    torch.nn.init.zeros_(layer.qkv.bias[:48])
    x = torch.randn(2, 10, 24, dtype=dtype, requires_grad=True)
    output = layer(x)
    torch.testing.assert_close(output, layer.proj.bias.expand_as(output))
    output.sum().backward()
    for leaf in (x, *layer.qkv.parameters(), *layer.proj.parameters()):
        assert leaf.grad.isfinite().all()
    assert not layer.bias.grad.isnan().any()


@pytest.mark.parametrize('norm', ['key', 'query'])
def test_one_token_without_weights_leaves_the_others_alone(norm) -> None:
    """A query (or key) of zeros is a row (or column) of zeros, in both paths."""
    q, k, v = tensors(6)
    (q if norm == 'key' else k)[:, :, 2] = 0
    attn = emha.attention_matrix(q, k, None, norm)
    row = attn[..., 2, :] if norm == 'key' else attn[..., 2]
    assert (row == 0).all() and attn.isfinite().all()
    torch.testing.assert_close(emha.fast_mix(q, k, v, None, norm), attn @ v)


# Which path ---------------------------------------------------------------------------


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor made inside had."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


@pytest.mark.parametrize('norm', emha.NORMS)
def test_fast_never_makes_the_matrix(norm) -> None:
    layer = EMHA(24, 3, norm)
    x = torch.randn(1, 500, 24, requires_grad=True)
    found = {}
    for fused in (True, False):
        layer.fused_attn = fused
        with Largest() as mode:
            layer(x).sum().backward()
        found[fused] = mode.numbers
    assert found[False] == 3 * 500 * 500
    assert found[True] == 3 * 500 * 24  # the queries, keys and values


@pytest.mark.parametrize(
    'change, tokens, fast',
    [
        (dict(), 20, True),
        (dict(), 19, False),  # fewer than 2.5 tokens for each of 8 channels
        (dict(bias='none'), 20, True),
        (dict(bias='matrix', grid=(1, 19)), 20, False),
        (dict(attn_drop=0.1), 20, False),
        (dict(fused_attn=False), 20, False),
    ],
)
def test_which_path_is_taken(monkeypatch, change, tokens, fast) -> None:
    monkeypatch.setattr(emha, 'FAST_FROM', 2.5)
    arguments = {k: v for k, v in change.items() if k != 'fused_attn'}
    layer = EMHA(24, 3, **arguments).train()
    layer.fused_attn = change.get('fused_attn', True)
    shown = []
    layer.attn_drop.register_forward_hook(lambda *a: shown.append(a[2].shape))
    layer(torch.randn(2, tokens, 24))
    assert shown == ([] if fast else [(2, 3, tokens, tokens)])


def test_dropout_acts_on_the_matrix_in_training_only() -> None:
    layer = EMHA(24, 3, attn_drop=0.5)
    x = torch.randn(2, 16, 24)
    rows = []
    layer.attn_drop.register_forward_hook(lambda *a: rows.append(a[2]))
    layer(x)
    share = (rows[0] == 0).float().mean()
    assert 0.4 < share < 0.6
    plain, fast = both(layer.eval(), x)
    torch.testing.assert_close(plain, fast)
    assert len(rows) == 2 and (rows[1] != 0).all()
