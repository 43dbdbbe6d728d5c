"""Operations of a transformer as modules, so that a rule can be given to each type."""

from __future__ import annotations

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
