"""timm's self-attention with a module for every operation, sharing the weights."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import Attention, AttentionRope
from timm.models.eva import EvaAttention
from torch import Tensor, nn

from wsss_plugins.errors import UserError
from wsss_plugins.lrp import AttentionValue, Fork, Product, QueryKey, Rotate, Softmax

ATTENTION: tuple[type[nn.Module], ...] = (Attention, AttentionRope, EvaAttention)
"""Types of softmax attention whose ``attn_drop`` gives the matrix that mixes the values."""


class Joined(nn.Linear):
    """A linear layer whose weight and bias are parts of a module of timm.

    Args:
        weight: ``(out, in)``, shared.
        biases: One per part of the output, shared: a tensor, or the length of a part
            without bias.
    """

    def __init__(self, weight: nn.Parameter, *biases: Tensor | int) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.weight, self._parts = weight, biases

    @property
    def bias(self) -> Tensor:  # type: ignore[override]
        """``(out,)``, as the parts are now."""
        return torch.cat(
            [
                self.weight.new_zeros(part) if isinstance(part, int) else part
                for part in self._parts
            ]
        )


class ExplicitProjections(nn.Module):
    """Queries, keys and values by three layers.

    Args:
        query: Layer of the queries.
        key: Layer of the keys.
        value: Layer of the values.
    """

    def __init__(self, query: nn.Module, key: nn.Module, value: nn.Module) -> None:
        super().__init__()
        self.query, self.key, self.value = query, key, value
        self.fork1, self.fork2 = Fork(), Fork()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Tokens ``(N, T, D)`` to three tensors ``(N, T, heads * d)``."""
        first, rest = self.fork1(x)
        second, third = self.fork2(rest)
        return self.query(first), self.key(second), self.value(third)


class ExplicitAttention(nn.Module):
    """Self-attention of timm, also with rotary positions, shared keys, or a gate.

    Args:
        attn: timm's module, whose layers it shares.

    Raises:
        UserError: The type of the attention is not known.
    """

    def __init__(self, attn: Any) -> None:
        super().__init__()
        if type(attn) not in ATTENTION:
            raise UserError(unknown(attn, 'attention'))
        self.heads = attn.num_heads
        self.qkv = _projections(attn)
        self.q_norm, self.k_norm = attn.q_norm, attn.k_norm
        self.attn_drop, self.proj_drop = attn.attn_drop, attn.proj_drop
        self.norm, self.proj = attn.norm, attn.proj
        prefix = getattr(attn, 'num_prefix_tokens', 0)
        half = bool(getattr(attn, 'rotate_half', False))
        self.rotate_q, self.rotate_k = Rotate(prefix, half), Rotate(prefix, half)
        self.query_key, self.attention_value = QueryKey(), AttentionValue()
        self.softmax = Softmax(attn.scale)
        if attn.gate is not None:
            self.fork, self.product = Fork(), Product()
            self.gate = nn.Sequential(attn.gate, nn.Sigmoid())

    def forward(self, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens ``(N, T, D)`` to new ones and the attention ``(N, heads, T, T)``."""
        gate = None
        if hasattr(self, 'gate'):
            x, other = self.fork(x)
            gate = self.gate(other)
        attn, value = self.matrix(x, rope)
        return self.mix(attn, value, gate), attn

    def matrix(self, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attention ``(N, heads, T, T)`` and values ``(N, heads, T, d)``.

        Args:
            x: ``(N, T, D)``.
            rope: See :class:`~wsss_plugins.lrp.Rotate`.
        """
        q, k, v = self._split(x)
        q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = self.rotate_q(rope, q), self.rotate_k(rope, k)
        if k.shape[1] != self.heads:  # several heads share keys and values
            share = self.heads // k.shape[1]
            k, v = (t.repeat_interleave(share, 1) for t in (k, v))
        return self.attn_drop(self.softmax(self.query_key(q, k))), v

    def mix(self, attn: Tensor, value: Tensor, gate: Tensor | None) -> Tensor:
        """The values mixed by the attention and projected, ``(N, T, D)``."""
        mixed = self.norm(self.attention_value(attn, value).transpose(1, 2).flatten(2))
        if gate is not None:
            mixed = self.product(gate, mixed)
        return self.proj_drop(self.proj(mixed))

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, ``(N, heads, T, d)``."""
        found = self.qkv(x)
        if isinstance(found, Tensor):
            found = found.chunk(3, -1)
        size = found[0].shape[-1] // self.heads
        return tuple(t.unflatten(-1, (-1, size)).transpose(1, 2) for t in found)


def _projections(attn: Any) -> nn.Module:
    """The layer, or layers, of queries, keys and values."""
    if attn.qkv is None:
        return ExplicitProjections(attn.q_proj, attn.k_proj, attn.v_proj)
    if isinstance(attn, EvaAttention) and attn.q_bias is not None:
        biases: Any = attn.q_bias, attn.k_bias, attn.v_bias
        return Joined(attn.qkv.weight, *biases)
    return attn.qkv


def unknown(part: nn.Module, what: str) -> str:
    """The message for a part of a model whose operations are not known.

    Args:
        part: The part.
        what: What it is: 'block', 'attention', 'MLP' or 'pooling'.
    """
    kind = type(part).__name__
    states = what == 'MLP'
    more = (
        ', or build it of modules (wsss_plugins.lrp.Product is one) and state '
        'operations_are_modules = True in its class'
    )
    return (
        f'relevance propagation does not know what the {what} {kind} computes between its '
        f'layers: take a method that follows gradients, such as InputXGradient{more * states}'
    )
