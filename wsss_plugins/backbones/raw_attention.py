"""Products of queries and keys before the softmax, from tokens between the blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor

from wsss_plugins.affinity import raw_products
from wsss_plugins.backbones.base import TokenBackbone
from wsss_plugins.blocks import block_index
from wsss_plugins.errors import ConfigError


def heads_of(backbone: TokenBackbone, blocks: Sequence[int]) -> int:
    """Number of heads of the given blocks together.

    Args:
        backbone: A :class:`~wsss_plugins.backbones.TimmViT` with plain attention.
        blocks: Indices; negative ones count from the end. The first block is none of them.

    Raises:
        ConfigError: The backbone has no such block, or its attention has another form.
    """
    return sum(block.attn.num_heads for _, block in _plain_blocks(backbone, blocks))


def raw_attention(
    backbone: TokenBackbone,
    hidden: Sequence[Tensor],
    grid: tuple[int, int],
    blocks: Sequence[int] = (-2, -1),
) -> list[Tensor]:
    """Products of the queries and keys of patches, neither scaled nor normalised.

    They are computed again from the tokens that a block was given: its fused attention does
    not return them. Gradients reach the backbone.

    Args:
        backbone: See :func:`heads_of`.
        hidden: ``(N, T, D)``, the output of each block, of a
            :class:`~wsss_plugins.backbones.Trace`.
        grid: ``(h, w)`` of the patches.
        blocks: See :func:`heads_of`.

    Returns:
        ``(N, heads, h w, h w)`` of each block.

    Raises:
        ConfigError: The backbone has no such block, or its attention has another form.
    """
    first, found = backbone.num_prefix, []
    for index, block in _plain_blocks(backbone, blocks):
        layer = block.attn
        joined = layer.qkv(block.norm1(hidden[index - 1]))[:, first:]
        split = joined.unflatten(-1, (3, layer.num_heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys = layer.q_norm(split[0]), layer.k_norm(split[1])
        found.append(raw_products(queries, keys, grid))
    return found


def _plain_blocks(
    backbone: TokenBackbone, blocks: Sequence[int]
) -> list[tuple[int, Any]]:
    """The blocks and their numbers from 0.

    Raises:
        ConfigError: The backbone has no such block, or its attention has another form.
    """
    all_blocks: list[Any] = backbone.blocks()
    numbers = [block_index(block, len(all_blocks), 'blocks') for block in blocks]
    for number in numbers:
        block = all_blocks[number]
        plain = type(block) is Block and type(block.attn) is Attention
        if not plain or number == 0:
            what = (
                'the first one'
                if plain
                else f'a {type(block).__name__} of another form'
            )
            raise ConfigError(
                'raw attention is read from blocks of a plain vision transformer after the '
                f'first one, and block {number} is {what}: name other blocks, or take a '
                'TimmViT or HybridViT',
                token='blocks',
            )
    return [(number, all_blocks[number]) for number in numbers]
