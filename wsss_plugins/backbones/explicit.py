"""timm's transformer with a module for every operation, sharing the weights.

Relevance propagation assigns rules to types of layers. timm implements matrix products,
softmax and residual sums as plain code; here each of them is a module.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from wsss_plugins.backbones.base import Tokens
from wsss_plugins.blocks import block_index
from wsss_plugins.errors import UserError
from wsss_plugins.lrp import Add, AttentionValue, Fork, QueryKey, Select, Softmax


class HasTimmBlocks(Protocol):
    """A backbone around a transformer of timm, such as :class:`TimmViT`.

    Attributes:
        vit: timm's module, with ``blocks``, ``norm``, ``norm_pre`` and ``pos_drop``.
        final_norm: Whether the tokens pass through ``vit.norm``.
        num_prefix: Number of prefix tokens before the patch tokens.
    """

    vit: nn.Module
    final_norm: bool
    num_prefix: int

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``(N, 3, H, W)`` to tokens and their positions ``(N, T, D)``."""

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of patches."""


class ExplicitAttention(nn.Module):
    """Self-attention of timm.

    Args:
        attn: timm's module, whose layers it shares.

    Raises:
        UserError: The attention has a gate, which has no rule.
    """

    def __init__(self, attn: Any) -> None:
        super().__init__()
        if getattr(attn, 'gate', None) is not None:
            raise UserError('relevance propagation has no rule for gated attention')
        self.heads = attn.num_heads
        self.qkv, self.proj = attn.qkv, attn.proj
        self.q_norm, self.k_norm = attn.q_norm, attn.k_norm
        self.attn_drop, self.proj_drop = attn.attn_drop, attn.proj_drop
        self.norm = getattr(attn, 'norm', nn.Identity())
        self.query_key, self.attention_value = QueryKey(), AttentionValue()
        self.softmax = Softmax(attn.scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``(N, T, D)`` to new ones and the attention ``(N, heads, T, T)``."""
        many, length, _ = x.shape
        qkv = self.qkv(x).reshape(many, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        products = self.query_key(self.q_norm(q), self.k_norm(k))
        attn = self.attn_drop(self.softmax(products))
        mixed = self.attention_value(attn, v).transpose(1, 2).flatten(2)
        return self.proj_drop(self.proj(self.norm(mixed))), attn


class ExplicitBlock(nn.Module):
    """One pre-norm transformer block of timm.

    Args:
        block: timm's module, whose layers it shares.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attn, self.mlp = ExplicitAttention(block.attn), block.mlp
        self.after_attn = nn.Sequential(block.ls1, block.drop_path1)
        self.after_mlp = nn.Sequential(block.ls2, block.drop_path2)
        self.fork1, self.fork2 = Fork(), Fork()
        self.add1, self.add2 = Add(), Add()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``(N, T, D)`` to new ones and the attention ``(N, heads, T, T)``."""
        residual, branch = self.fork1(x)
        branch, attn = self.attn(self.norm1(branch))
        x = self.add1(residual, self.after_attn(branch))
        residual, branch = self.fork2(x)
        return self.add2(residual, self.after_mlp(self.mlp(self.norm2(branch)))), attn


class ExplicitViT(nn.Module):
    """A :class:`TimmViT` from block ``start`` on, or from the image on.

    Args:
        backbone: The backbone, whose layers it shares.
        start: See :meth:`TokenBackbone.explicit`.

    Raises:
        ConfigError: The backbone has no block ``start``.
        UserError: Relevance cannot pass the stem (a hybrid's CNN) to the image.
    """

    def __init__(self, backbone: HasTimmBlocks, start: int | None) -> None:
        super().__init__()
        vit: Any = backbone.vit
        if start is not None:
            start = block_index(start, len(vit.blocks), 'start_block')
        else:
            if hasattr(vit.patch_embed, 'backbone'):
                raise UserError(
                    'relevance does not pass the CNN of a hybrid ViT to the image: use a '
                    'method that ends at the tokens, such as TransformerAttribution'
                )
            self.stem = vit.patch_embed
            self.add_positions = Add()
            self.pre = nn.Sequential(vit.pos_drop, vit.norm_pre)
        self._backbone = (backbone,)  # in a tuple, so that it is no part of this one
        self.start = start
        self.blocks = nn.ModuleList(map(ExplicitBlock, vit.blocks[start or 0 :]))
        self.norm = vit.norm if backbone.final_norm else nn.Identity()
        self.select = Select(backbone.num_prefix)

    def forward(self, images: Tensor) -> tuple[Tokens, list[Tensor]]:
        """See :meth:`TokenBackbone.explicit`."""
        (backbone,) = self._backbone
        if self.start is None:
            tokens = self.pre(self.add_positions(*backbone.embed(images)))
        else:
            tokens = self._before(backbone, images)
        attention = []
        for block in self.blocks:
            tokens, attn = block(tokens)
            attention.append(attn)
        tokens = self.norm(tokens)
        patch = tokens[:, backbone.num_prefix :].transpose(1, 2)
        patch = patch.unflatten(2, backbone.grid(images))
        return Tokens(self.select(tokens), patch), attention

    def _before(self, backbone: HasTimmBlocks, images: Tensor) -> Tensor:
        """The input of block ``start``, where the graph begins."""
        vit: Any = backbone.vit
        with torch.no_grad():
            tokens, positions = backbone.embed(images)
            tokens = vit.norm_pre(vit.pos_drop(tokens + positions))
            for block in vit.blocks[: self.start]:
                tokens = block(tokens)
        return tokens.requires_grad_()
