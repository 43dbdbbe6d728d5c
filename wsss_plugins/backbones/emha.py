"""Explainable multi-head attention (E-MHA): an L2 norm in place of the softmax.

Source: Yu et al., eX-ViT: A Novel eXplainable Vision Transformer for Weakly Supervised
Semantic Segmentation, 2022, eqs. 1 to 5. Choices that the paper leaves open are
arguments here; docs/methods.md explains the defaults.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import Attention
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError, near_names

NORMS = ('key', 'query', 'matrix')
BIASES = ('head', 'matrix', 'none')
SCALES = ('none', 'tokens')

EPSILON = 1e-6
"""Lower bound of the norms, so that nothing is divided by zero.

The gradient of S by a row of W + b of norm n is at most ``2 ||V|| / max(n, EPSILON)``,
where ``||V||`` is the norm of V as a matrix.
"""

FAST_FROM = 2.5
"""The fast path is taken from this many tokens per channel of a head (measured with
benchmarks/exvit.py): from 160 tokens for the 64 channels of ViT and DeiT."""


class EMHA(nn.Module):
    """Attention of a timm block whose weights are ``l(W + b)``, signed, no softmax.

    ``W = q k' / sqrt(channels of a head)``; ``A = l(W + b)`` divides by an L2 norm;
    ``S = A V``. With ``norm='key'`` or ``'matrix'``, ``|S_ic| <= ||V_:c||`` (eq. 5).

    Without softmax the product is associative, ``(q k') v = q (k' v)``, and the norms
    follow from the second moments of the keys, so that no ``(T, T)`` matrix is
    computed. This *fast path* is used where :attr:`fused_attn` allows it, the bias is
    not a matrix, no dropout acts on the matrix, and there are enough tokens for it to
    be faster.

    The parameters have timm's names, so weights of a ViT load into it; ``bias`` is new.

    Args:
        dim: D, channels of a token.
        num_heads: Number of heads.
        norm: What is scaled to unit length: ``'key'`` each query's row over the keys,
            ``'query'`` each key's column over the queries, ``'matrix'`` the whole
            matrix of a head.
        bias: b: ``'head'`` one number per head, ``'matrix'`` one per head and pair of
            tokens of ``grid``, ``'none'``.
        bias_init: Initial value of b. 0 keeps the effect of weights that were trained
            with softmax; a value far above W starts near uniform averaging, ``A = 1 /
            sqrt(T)``.
        scale: ``'none'`` as in the paper; ``'tokens'`` divides S by ``sqrt(T)``, so
            that uniform attention gives the mean of the values, as after a softmax, for
            any T.
        grid: ``(h, w)`` of the patches, for ``bias='matrix'``.
        num_prefix: P, number of prefix tokens, for ``bias='matrix'``.
        qkv_bias: Whether queries, keys and values have a bias of their own.
        attn_drop: Dropout rate of A.
        proj_drop: Dropout rate of the output.

    Raises:
        ConfigError: ``norm`` or ``bias`` is unknown, or ``bias='matrix'`` is given
            without ``grid``.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        norm: str = 'key',
        bias: str = 'head',
        bias_init: float = 0.0,
        scale: str = 'none',
        grid: tuple[int, int] | None = None,
        num_prefix: int = 1,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        check_options(norm, bias, bias_init, scale)
        if dim % num_heads:
            raise ConfigError(
                f'{num_heads} heads do not share {dim} channels evenly',
                token='num_heads',
            )
        self.num_heads, self.norm_over, self.scale_by = num_heads, norm, scale
        self.fused_attn = True
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.q_norm, self.k_norm = nn.Identity(), nn.Identity()
        self.attn_drop = nn.Dropout(attn_drop)
        self.norm = nn.Identity()
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)
        self.grid, self.num_prefix = grid, num_prefix
        shape: tuple[int, ...] = (num_heads,)
        if bias == 'matrix':
            if grid is None:
                raise ConfigError(
                    "bias='matrix' needs the grid of the patches: give grid=(h, w)",
                    token='bias',
                )
            tokens = num_prefix + grid[0] * grid[1]
            shape = (num_heads, tokens, tokens)
        self.bias = (
            None if bias == 'none' else nn.Parameter(torch.full(shape, bias_init))
        )

    @classmethod
    def of(
        cls,
        attn: nn.Module,
        norm: str = 'key',
        bias: str = 'head',
        bias_init: float = 0.0,
        scale: str = 'none',
        grid: tuple[int, int] | None = None,
        num_prefix: int = 1,
    ) -> EMHA:
        """Builds E-MHA from the layers of a softmax attention of timm.

        Args:
            attn: timm's module; its layers become those of the new one.
            norm: See :class:`EMHA`.
            bias: See :class:`EMHA`.
            bias_init: See :class:`EMHA`.
            scale: See :class:`EMHA`.
            grid: See :class:`EMHA`.
            num_prefix: See :class:`EMHA`.

        Raises:
            ConfigError: ``attn`` is not timm's plain attention, or has a gate.
        """
        if type(attn) is not Attention or getattr(attn, 'gate', None) is not None:
            raise ConfigError(
                "E-MHA takes the place of timm's plain attention, not of "
                f'{type(attn).__name__} or a gated one: name a plain vit_* or deit_* model'
            )
        dim = attn.qkv.in_features
        new = cls(dim, attn.num_heads, norm, bias, bias_init, scale, grid, num_prefix)
        for name, layer in attn.named_children():
            setattr(new, name, layer)
        return new

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Mixes the tokens.

        Args:
            x: ``(N, T, D)``.
            attn_mask: Bias b, ``(heads, T, T)`` or ``(N, heads, T, T)``, where the bias
                is a matrix and the tokens are not those of its grid (see
                :meth:`bias_on`). timm's blocks pass it under this name.
            is_causal: Argument of timm; must be False.

        Returns:
            ``(N, T, D)``.

        Raises:
            ConfigError: T is 0.
        """
        many, length, _ = x.shape
        if not length:
            raise ConfigError(
                f'E-MHA mixes tokens, and x {tuple(x.shape)} has none: give images of at '
                'least one patch, and keep one with drop_patches'
            )
        qkv = self.qkv(x).reshape(many, length, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()  # (N, heads, T, d)
        q, k = self.q_norm(q), self.k_norm(k)
        if self.scale_by == 'tokens':
            v = v * length**-0.5
        bias = self._bias(attn_mask)
        if self._fast(length, q.shape[-1]):
            mixed = fast_mix(q, k, v, bias, self.norm_over)
        else:
            attn = attention_matrix(q, k, bias, self.norm_over)
            mixed = self.attn_drop(attn.to(v.dtype)) @ v
        mixed = mixed.transpose(1, 2).flatten(2)
        return self.proj_drop(self.proj(self.norm(mixed)))

    def _bias(self, other: Tensor | None) -> Tensor | None:
        if other is not None or self.bias is None or self.bias.ndim > 1:
            return self.bias if other is None else other
        return self.bias[:, None, None]

    def _fast(self, length: int, channels: int) -> bool:
        dropped = self.training and self.attn_drop.p > 0
        matrix = self.bias is not None and self.bias.ndim > 1
        enough = length >= FAST_FROM * channels
        return self.fused_attn and not dropped and not matrix and enough

    def bias_on(
        self, grid: tuple[int, int], keep: Tensor | None = None
    ) -> Tensor | None:
        """The matrix b on another grid, or for some of its patches.

        Args:
            grid: ``(h, w)`` of the patches.
            keep: ``(N, n)`` indices of the patches that are kept; by default all.

        Returns:
            ``(heads, T, T)``, with ``keep`` ``(N, heads, T, T)``; None where b needs no
            change.
        """
        if self.bias is None or self.bias.ndim == 1 or self.grid is None:
            return None
        if tuple(self.grid) == tuple(grid) and keep is None:
            return None
        bias = resample_pairs(self.bias, self.grid, grid, self.num_prefix)
        if keep is None:
            return bias
        prefix = torch.arange(self.num_prefix, device=keep.device)
        prefix = prefix.expand(len(keep), -1)
        index = torch.cat([prefix, keep + self.num_prefix], 1)
        return torch.stack([bias[:, i][:, :, i] for i in index])


def check_options(norm: str, bias: str, bias_init: float, scale: str) -> None:
    """Refuses options that :class:`EMHA` does not support.

    Raises:
        ConfigError: ``norm``, ``bias`` or ``scale`` is unknown, or ``bias_init`` is
            given with ``bias='none'``.
    """
    if scale not in SCALES:
        raise ConfigError(
            f"there is no scale '{scale}': {near_names(str(scale), SCALES)}",
            token=str(scale),
        )
    if norm not in NORMS:
        raise ConfigError(
            f"there is no norm '{norm}': {near_names(norm, NORMS)}", token=norm
        )
    if bias not in BIASES:
        allowed = near_names(bias, BIASES)
        raise ConfigError(f"there is no bias '{bias}': {allowed}", token=bias)
    if bias == 'none' and bias_init:
        raise ConfigError(
            f"bias='none' has no start: leave bias_init={bias_init} out",
            token='bias_init',
        )


def attention_matrix(q: Tensor, k: Tensor, bias: Tensor | None, norm: str) -> Tensor:
    """``l(q k' / sqrt(d) + b)``, computed and returned in float32 or better.

    Args:
        q: ``(N, heads, T, d)`` queries.
        k: ``(N, heads, T, d)`` keys.
        bias: b, broadcastable to ``(N, heads, T, T)``.
        norm: See :class:`EMHA`.

    Returns:
        ``(N, heads, T, T)``, row = query.
    """
    with torch.autocast(q.device.type, enabled=False):
        weights = _scaled(q) @ _precise(k).transpose(-2, -1)
        if bias is not None:
            weights += bias
        over = {'key': (-1,), 'query': (-2,), 'matrix': (-2, -1)}[norm]
        return weights * _inverse_root(weights.square().sum(over, keepdim=True))


def fast_mix(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, norm: str) -> Tensor:
    """``l(q k' / sqrt(d) + b) v`` without the matrix, in O(T d^2).

    With ``k = mean + rest`` the row of query i is ``m_i + q_i rest'``, where ``m_i = q_i
    mean' + b``. Its squared norm ``T m_i^2 + q_i (rest' rest) q_i'`` is a sum of two
    numbers that are not negative. The large common part of keys and bias, which would
    cancel in float32, is subtracted before anything is squared.

    The second number is known to ``eps |q_i|^2 |rest|^2`` and counts at least as much.
    The output thus stays within the bound of :class:`EMHA` where a query is orthogonal
    to keys that spread far in one direction; it is then smaller than it should be.

    Args:
        q: ``(N, heads, T, d)`` queries.
        k: ``(N, heads, T, d)`` keys.
        v: ``(N, heads, T, d)`` values.
        bias: b, ``(heads, 1, 1)``.
        norm: See :class:`EMHA`.

    Returns:
        ``(N, heads, T, d)`` of the type of ``v``.
    """
    with torch.autocast(q.device.type, enabled=False):
        query, key, value = _scaled(q), _precise(k), _precise(v)
        common, rest = _centred(query, key, bias)
        if norm == 'query':
            mean, spread = _centred(key, query, bias)
            value = value * _inverse_root(_squares(key, mean, spread))
        mixed = query @ (rest.transpose(-2, -1) @ value)
        mixed = mixed + common * value.sum(-2, keepdim=True)
        if norm != 'query':
            squares = _squares(query, common, rest)
            if norm == 'matrix':
                squares = squares.sum(-2, keepdim=True)
            mixed = mixed * _inverse_root(squares)
        return mixed.to(v.dtype)


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _scaled(q: Tensor) -> Tensor:
    return _precise(q) * q.shape[-1] ** -0.5


def _centred(q: Tensor, k: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The common part of each row, ``(..., T, 1)``, and the keys minus their mean."""
    mean = k.mean(-2, keepdim=True)
    common = q @ mean.transpose(-2, -1)
    return common if bias is None else common + bias, k - mean


def _squares(q: Tensor, common: Tensor, rest: Tensor) -> Tensor:
    """Squared norm of each query's row, ``(..., T, 1)``."""
    gram = rest.transpose(-2, -1) @ rest
    spread = ((q @ gram) * q).sum(-1, keepdim=True)
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    rounding = torch.finfo(q.dtype).eps * q.square().sum(-1, keepdim=True) * trace
    spread = torch.maximum(spread, rounding)
    return rest.shape[-2] * common.square() + spread


def _inverse_root(squares: Tensor) -> Tensor:
    return squares.clamp_min(EPSILON**2).rsqrt()


def resample_pairs(
    table: Tensor, old: tuple[int, int], new: tuple[int, int], num_prefix: int
) -> Tensor:
    """Resamples a table of token pairs to another grid; prefix tokens are kept.

    Args:
        table: ``(heads, P + n, P + n)``, row = query.
        old: ``(h, w)`` of the patches of ``table``.
        new: ``(h', w')`` of the result.
        num_prefix: P, number of prefix tokens.

    Returns:
        ``(heads, P + n', P + n')``.
    """
    for _ in range(2):  # the keys, then the queries
        prefix, patch = table.tensor_split((num_prefix,), -1)
        maps = F.interpolate(
            patch.unflatten(-1, old), size=new, mode='bilinear', align_corners=False
        )
        table = torch.cat([prefix, maps.flatten(-2)], -1).transpose(-2, -1)
    return table
