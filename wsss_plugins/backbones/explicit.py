"""timm's transformer with a module for every operation, sharing the weights.

Relevance propagation assigns rules to types of layers. timm implements matrix products,
softmax and residual sums as plain code; here each of them is a module.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from timm.layers import PatchEmbed
from torch import Tensor, nn

from wsss_plugins.backbones.base import Tokens
from wsss_plugins.backbones.explicit_blocks import explicit_block
from wsss_plugins.backbones.stem import ConvStem
from wsss_plugins.blocks import block_index
from wsss_plugins.errors import UserError
from wsss_plugins.lrp import Add, Select


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

    def rotations(self, grid: tuple[int, int]) -> list[Tensor | None]:
        """Rotary positions for each block."""

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of patches."""


class ExplicitViT(nn.Module):
    """A :class:`TimmViT` from block ``start`` on, or from the image on.

    Args:
        backbone: The backbone, whose layers it shares.
        start: See :meth:`TokenBackbone.explicit`.

    Raises:
        ConfigError: The backbone has no block ``start``.
        UserError: Relevance cannot pass the stem (a hybrid's CNN) to the image, or it is
            not known what a block computes between its layers.
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
            if type(vit.patch_embed) not in (PatchEmbed, ConvStem):
                raise UserError(
                    f'relevance propagation does not know what the patch embedding '
                    f'{type(vit.patch_embed).__name__} computes between its layers: use '
                    'a method that ends at the tokens, such as TransformerAttribution'
                )
            self.stem = vit.patch_embed
            self.add_positions = Add()
            self.pre = nn.Sequential(vit.pos_drop, vit.norm_pre)
        self._backbone = (backbone,)  # in a tuple, so that it is no part of this one
        self.start = start
        self.blocks = nn.ModuleList(map(explicit_block, vit.blocks[start or 0 :]))
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
        rotations = backbone.rotations(backbone.grid(images))[self.start or 0 :]
        for block, rope in zip(self.blocks, rotations, strict=True):
            tokens, attn = block(tokens, rope)
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
            rotations = backbone.rotations(backbone.grid(images))
            for block, rope in zip(vit.blocks[: self.start], rotations, strict=False):
                tokens = block(tokens) if rope is None else block(tokens, rope=rope)
        return tokens.requires_grad_()
