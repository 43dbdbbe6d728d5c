"""Vision transformers on the feature maps of any convolutional network of timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from wsss_plugins.backbones.timm_maps import TimmMaps
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, build_as


class MapsStem(nn.Module):
    """Tokens from feature maps: each normalised, joined on the finest grid, projected.

    It takes the place of timm's ``PatchEmbed``. Each cell of a map is normalised over its
    channels, without weights, so that maps of very different sizes count alike and no
    statistic depends on the batch. Coarser maps are enlarged bilinearly.

    Source of the design: Dosovitskiy et al., An Image is Worth 16x16 Words, 2021, section
    3.1, 'Hybrid Architecture'.

    Args:
        net: The network.
        in_index: Which of its maps are joined; by default all.
        img_size: Side or ``(H, W)`` that the position embeddings are made for.
        embed_dim: D, channels of a token.
        kwargs: Other arguments that timm passes to a patch embedding; they are ignored.

    Raises:
        ConfigError: The network has no map of an index, or ``img_size`` is no multiple of
            its largest stride.
    """

    def __init__(
        self,
        net: TimmMaps,
        in_index: Sequence[int] | None = None,
        img_size: int | tuple[int, int] = 448,
        embed_dim: int = 192,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        many = len(net.strides)
        chosen = range(many) if in_index is None else in_index
        if not chosen or any(not -many <= i < many for i in chosen):
            raise ConfigError(
                f'in_index must name some of the {many} maps of the stem, not '
                f'{tuple(chosen)}',
                token='in_index',
            )
        self.backbone = net
        self.in_index = tuple(i % many for i in chosen)
        self.stride = min(net.strides[i] for i in self.in_index)
        size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        if any(side % net.multiple for side in size):
            raise ConfigError(
                f'img_size must be multiples of {net.multiple}, the largest stride of the '
                f'stem, not {size}',
                token='img_size',
            )
        self.img_size = size
        self.patch_size = (self.stride, self.stride)
        self.grid_size = (size[0] // self.stride, size[1] // self.stride)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.strict_img_size = False
        width = sum(net.channels[i] for i in self.in_index)
        self.proj = nn.Conv2d(width, embed_dim, 1)

    def feat_ratio(self, as_scalar: bool = True) -> int | tuple[int, int]:
        """Pixels per token, as in timm's patch embeddings."""
        return self.stride if as_scalar else self.patch_size

    def forward(self, images: Tensor) -> Tensor:
        """Maps images or packed features to tokens ``(N, h * w, D)``, row-major."""
        maps = self.backbone(images)
        rows, columns = (side // self.stride for side in self.backbone.pixels(images))
        joined = [_on_grid(maps[i], (rows, columns)) for i in self.in_index]
        return self.proj(torch.cat(joined, 1)).flatten(2).transpose(1, 2)


def _on_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """A map whose cells have mean 0 and deviation 1 over channels, on a grid."""
    cells = maps.movedim(1, -1)
    normal = F.layer_norm(cells, cells.shape[-1:], eps=1e-6).movedim(-1, 1)
    if tuple(normal.shape[-2:]) == grid:
        return normal
    return F.interpolate(normal, size=grid, mode='bilinear', align_corners=False)


def vit_on_maps(stem: Mapping[str, Any], arch: dict[str, Any]) -> VisionTransformer:
    """A transformer of timm whose tokens are cells of feature maps.

    Args:
        stem: ``net``, a :class:`TimmMaps` or its config, and perhaps ``in_index``.
        arch: Keyword arguments of timm's ``VisionTransformer``.

    Raises:
        ConfigError: ``stem`` has other keys, or its network is no :class:`TimmMaps`.
    """
    if not {'net'} <= {*stem} <= {'net', 'in_index'}:
        raise ConfigError(
            "a stem of feature maps is dict(net=dict(type='TimmMaps', ...), in_index=...),"
            f' not a dict of {sorted(stem)}',
            token='stem',
        )
    net = build_as(MODELS, stem['net'], TimmMaps)
    # timm initialises the linear layers of every part again, those of a ViT stem too.
    loaded = {key: value.clone() for key, value in net.net.state_dict().items()}

    def embed(**options: Any) -> MapsStem:
        """The stem, as timm builds its patch embedding."""
        options.pop('patch_size', None)
        return MapsStem(net, stem.get('in_index'), **options)

    vit = VisionTransformer(**{'num_classes': 0, 'embed_layer': embed, **arch})
    net.net.load_state_dict(loaded)
    return vit
