"""The blocks and attention layers of timm that this package knows.

A block of timm can be of any type, and a type that is not known may compute something
else than its parts suggest: differential attention, for instance, has a dropout after two
softmaxes whose difference is multiplied by the values. Maps are therefore read only from
types whose form with a module for every operation was compared with timm's own
(``wsss list vits``).
"""

from __future__ import annotations

from typing import Any

from timm.layers import PatchEmbed
from timm.models.eva import Eva, EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import (
    Block,
    ParallelScalingBlock,
    ResPostBlock,
    VisionTransformer,
)
from torch import nn

from wsss_plugins.backbones.emha import EMHA
from wsss_plugins.backbones.explicit_attention import ATTENTION
from wsss_plugins.backbones.explicit_blocks import ThingsBlock
from wsss_plugins.errors import ConfigError

MODULES = (
    *('vision_transformer', 'deit', 'vision_transformer_hybrid', 'vitamin'),
    'eva',
)
"""Modules of timm with plain vision transformers; nothing is downloaded for others."""

OTHERS = {
    **dict.fromkeys(
        ('Beit', 'VisionTransformerRelPos'),
        'adds a bias of relative positions to its attention',
    ),
    'Cait': 'mixes its heads around the softmax and has blocks for the class token alone',
    'ConVit': 'mixes attention with a fixed pattern of positions by a gate',
    'NaFlexVit': 'reads lists of patches of images of any size',
    'VisionTransformerSAM': 'attends within windows, with a bias of relative positions',
    **dict.fromkeys(
        (
            *('DeepseekVitClassifier', 'DeepseekVitEncoder', 'Gemma4VitClassifier'),
            *('Gemma4VitEncoder', 'Qwen3VitClassifier', 'Qwen3VitEncoder'),
        ),
        'is the encoder of a language model, with blocks of its own',
    ),
}
"""What other transformers of timm do that this package has no form for."""

PLAIN = (VisionTransformer, Eva)
"""Classes of timm that :class:`TimmViT` can be built around."""

_WITH_ATTN = (Block, ResPostBlock, EvaBlock, EvaBlockPostNorm)


def attention_of(block: Any) -> Any | None:
    """The layer of a block whose ``attn_drop`` gives the attention of the block.

    Args:
        block: A block of timm.

    Returns:
        The layer, which has ``attn_drop`` and ``fused_attn``; None if the type of the block
        or of its attention is not known.
    """
    if type(block) in _WITH_ATTN and type(block.attn) in (*ATTENTION, EMHA):
        return block.attn
    return block if type(block) in (ParallelScalingBlock, ThingsBlock) else None


def hidden_attention(blocks: Any) -> str | None:
    """The reason why the attention of blocks cannot be read.

    Args:
        blocks: The blocks of a transformer of timm.

    Returns:
        For the place of X in 'it reads attention, and X'; None if it can be read.
    """
    for block in blocks:
        if attention_of(block) is None:
            inner = getattr(block, 'attn', None)
            known = type(block) in _WITH_ATTN and inner is not None
            kind = type(inner if known else block).__name__
            if 'Diff' in kind:
                return f'{kind} has the difference of two softmaxes instead'
            return f'what {kind} computes is not known'
    return None


def check_plain(vit: nn.Module, name: str) -> None:
    """Refuses a model of timm that :class:`TimmViT` cannot be built around.

    Args:
        vit: The model.
        name: Its name, for messages.

    Raises:
        ConfigError: The model is no plain vision transformer, or its patches are not
            square.
    """
    if not isinstance(vit, PLAIN):
        kind = type(vit).__name__
        reason = f', which {OTHERS[kind]}' if kind in OTHERS else ''
        raise ConfigError(
            f"timm's '{name}' is a {kind}{reason}, not a plain vision transformer: name a "
            'vit_*, deit_* or eva* model that docs/generated/timm_vits.md lists',
            token=name,
        )
    embed: Any = vit.patch_embed
    sizes = embed.patch_size if isinstance(embed, PatchEmbed) else (1, 1)
    height, width = sizes
    if height != width:
        raise ConfigError(
            f"timm's '{name}' has patches of {height}x{width} pixels, and this package "
            'takes square ones: name another model',
            token=name,
        )


def check_one_class(vit: Any, owner: str) -> VisionTransformer:
    """Refuses a transformer that is not timm's ``VisionTransformer``.

    Args:
        vit: The model.
        owner: The class that changes the model, for the message.

    Returns:
        The model.

    Raises:
        ConfigError: The model is of another class, such as ``Eva``.
    """
    if not isinstance(vit, VisionTransformer):
        raise ConfigError(
            f"{owner} changes timm's VisionTransformer, and this model is a "
            f'{type(vit).__name__}: name a vit_* or deit_* model',
            token='name',
        )
    return vit
