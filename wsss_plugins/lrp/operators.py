"""Operations of a transformer as modules, so that a rule can be given to each type."""

from __future__ import annotations

import torch
from timm.layers import apply_rot_embed_cat
from torch import Tensor, nn


class Add(nn.Module):
    """``a + b``: a residual connection, or tokens and their positions."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Adds two tensors of one shape."""
        return a + b


class Fork(nn.Module):
    """One tensor that two branches read."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns ``x`` twice."""
        return x, x


class QueryKey(nn.Module):
    """Queries against keys, without the scale."""

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """``(..., T, d)`` and ``(..., T, d)`` to ``(..., T, T)``."""
        return query @ key.transpose(-2, -1)


class LatentKey(QueryKey):
    """A latent query, which is a parameter, against keys: linear in the keys."""


class AttentionValue(nn.Module):
    """Attention applied to the values."""

    def forward(self, attn: Tensor, value: Tensor) -> Tensor:
        """``(..., T, T)`` and ``(..., T, d)`` to ``(..., T, d)``."""
        return attn @ value


class Softmax(nn.Module):
    """Softmax over the keys, of scaled products.

    Args:
        scale: Factor of the products, head_dim ** -0.5.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, products: Tensor) -> Tensor:
        """``(..., T, T)`` to rows that sum to 1."""
        return (products * self.scale).softmax(-1)


class Select(nn.Module):
    """The first tokens of a sequence.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, tokens: Tensor) -> Tensor:
        """``(N, T, D)`` to ``(N, count, D)``."""
        return tokens[:, : self.count]


class Mean(nn.Module):
    """The mean of the tokens of a sequence."""

    def forward(self, tokens: Tensor) -> Tensor:
        """``(N, T, D)`` to ``(N, D)``."""
        return tokens.mean(1)


class Product(nn.Module):
    """``gate * signal``, element by element: a gated MLP, or attention with a gate."""

    def forward(self, gate: Tensor, signal: Tensor) -> Tensor:
        """Multiplies two tensors of one shape."""
        return gate * signal


class Scale(nn.Module):
    """``x * gamma`` with one number per channel: layer scale without a module of timm.

    Args:
        gamma: ``(D,)``, shared with the model.
    """

    def __init__(self, gamma: nn.Parameter) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, x: Tensor) -> Tensor:
        """``(..., D)`` to the same shape."""
        return x * self.gamma


class Rotate(nn.Module):
    """Rotary position embedding: pairs of channels of patch tokens are rotated.

    Args:
        prefix: Number of tokens at the start of the sequence that are not rotated.
        half: Whether channel i makes a pair with channel i + d / 2, rather than with its
            neighbour.
    """

    def __init__(self, prefix: int, half: bool) -> None:
        super().__init__()
        self.prefix, self.by_halves = prefix, half

    def forward(self, rope: Tensor, x: Tensor) -> Tensor:
        """Rotates queries or keys.

        Args:
            rope: Sine and cosine of the angles, ``(..., n, 2 * d)``.
            x: ``(N, heads, P + n, d)``, P as ``prefix``.

        Returns:
            ``(N, heads, P + n, d)``.
        """
        first, rest = x.tensor_split((self.prefix,), 2)
        return torch.cat(
            [first, apply_rot_embed_cat(rest, rope, half=self.by_halves)], 2
        )
