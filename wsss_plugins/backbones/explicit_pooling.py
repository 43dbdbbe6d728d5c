"""timm's attention pooling with a module for every operation, sharing the weights."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import AttentionPoolLatent
from torch import Tensor, nn

from wsss_plugins.backbones.explicit_attention import unknown
from wsss_plugins.backbones.explicit_blocks import explicit_mlp
from wsss_plugins.errors import UserError
from wsss_plugins.lrp import Add, AttentionValue, Fork, LatentKey, Softmax


class ExplicitPooling(nn.Module):
    """Attention pooling of timm: a latent query attends to all tokens, an MLP follows.

    The query is a parameter, the same for every image. It is computed without a graph, so
    that relevance and gradients go to the tokens alone.

    Args:
        pool: timm's module, whose layers it shares.

    Raises:
        UserError: The type of the pooling is not known, or it is built with positions of
            its own, without MLP, or so that it returns more than its first query.
    """

    def __init__(self, pool: Any) -> None:
        super().__init__()
        if not _is_known(pool):
            raise UserError(unknown(pool, 'pooling'))
        self._pool = (pool,)  # in a tuple, so that the query's layers are no part of it
        self.heads, self.kv, self.k_norm = pool.num_heads, pool.kv, pool.k_norm
        self.latent_key, self.attention_value = LatentKey(), AttentionValue()
        self.softmax = Softmax(pool.scale)
        self.proj = nn.Sequential(pool.proj, pool.proj_drop)
        self.norm, self.mlp = pool.norm, explicit_mlp(pool.mlp)
        self.fork, self.add = Fork(), Add()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``(N, T, D)`` to one ``(N, D)`` and the attention ``(N, heads, 1, T)``."""
        query = self._query().expand(len(x), -1, -1, -1)
        key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.kv(x).chunk(2, -1)
        )  # (N, heads, T, d)
        attn = self.softmax(self.latent_key(query, self.k_norm(key)))
        mixed = self.attention_value(attn, value).transpose(1, 2).flatten(2)
        residual, branch = self.fork(self.proj(mixed))
        return self.add(residual, self.mlp(self.norm(branch)))[:, 0], attn

    def _query(self) -> Tensor:
        """The query of the first latent token, ``(1, heads, 1, d)``."""
        (pool,) = self._pool
        with torch.no_grad():
            query = pool.q(pool.latent[:, :1])
            query = query.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            return pool.q_norm(query)


def _is_known(pool: Any) -> bool:
    """Whether a pooling is timm's, in the form that its vision transformers have."""
    if type(pool) is not AttentionPoolLatent:
        return False
    return pool.pool == 'token' and pool.pos_embed is None and pool.mlp is not None
