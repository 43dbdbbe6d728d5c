"""A small transformer on the maps of a pretrained network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsss_plugins.backbones.timm_maps import TimmMaps
from wsss_plugins.backbones.timm_vit import TimmViT
from wsss_plugins.registry import MODELS


@MODELS.register_module()
class HybridViT(TimmViT):
    """A vision transformer whose tokens are cells of the feature maps of a network of timm.

    Attention, gradients and relevance are those of the transformer, from the tokens on;
    the network below it may be frozen, and then be read from kept features. The same stem
    serves E-MHA and models with many class tokens: ``ExViT(stem=dict(net=...), ...)``,
    ``MultiClassTokenViT(stem=dict(net=...), ...)``.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words, 2021, section 3.1.

    Args:
        net: A :class:`TimmMaps` or its config.
        in_index: Which maps of it are joined; by default all.
        img_size: Side or ``(H, W)`` that the position embeddings are made for.
        embed_dim: D, channels of a token.
        depth: L, number of blocks.
        num_heads: Number of heads.
        options: Further arguments of :class:`TimmViT`.

    Raises:
        ConfigError: An argument is unknown, the network has no map of an index in
            ``in_index``, or ``img_size`` is no multiple of its largest stride.
    """

    def __init__(
        self,
        net: TimmMaps | Mapping[str, Any],
        in_index: Sequence[int] | None = None,
        img_size: int | tuple[int, int] = 448,
        embed_dim: int = 192,
        depth: int = 4,
        num_heads: int = 3,
        **options: Any,
    ) -> None:
        super().__init__(
            stem=dict(net=net, in_index=in_index),
            img_size=img_size,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            **options,
        )
