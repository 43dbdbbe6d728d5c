"""The convolutions before a vision transformer as a backbone of feature maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModule
from timm.layers import HybridEmbed
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn

from wsss_plugins.backbones.stem import ConvStem
from wsss_plugins.backbones.timm_files import load_vit
from wsss_plugins.backbones.timm_vit import build_vit
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS


@MODELS.register_module()
class TransformerStem(BaseModule):
    """Feature maps of the convolutional stem of a :class:`TimmViT`, finest first.

    The R50-hybrid has maps of stride 4, 8 and 16 with 256, 512 and 1024 channels; a
    :class:`ConvStem` of stride 2, 4 ... patch_size with ... D / 2, D channels. The
    transformer itself is left out.

    Source of its use for affinities: Athanasiadis, Moschovis and Tuoma, ReScience C
    2022, section 4.3.

    Args:
        name: See :class:`TimmViT`.
        pretrained: See :class:`TimmViT`; the file of a trained classifier with this transformer
            among others.
        stem: See :class:`TimmViT`.
        init_cfg: mmengine's; ``dict(type='Pretrained', checkpoint=FILE)`` means the
            same as ``pretrained=FILE``.
        arch: See :class:`TimmViT`.

    Raises:
        ConfigError: The name or an argument is unknown, or the transformer has no
            convolutional stem.
        CheckpointError: The weights cannot be loaded or do not fit.
    """

    def __init__(
        self,
        name: str | None = None,
        pretrained: bool | str | None = False,
        stem: str | Mapping[str, Any] = 'patch',
        init_cfg: dict[str, Any] | None = None,
        **arch: Any,
    ) -> None:
        if init_cfg and init_cfg.get('type') == 'Pretrained':
            pretrained, init_cfg = init_cfg['checkpoint'], None
        super().__init__(init_cfg)
        vit = build_vit(name, pretrained is True, stem, **arch)
        if isinstance(pretrained, str):
            load_vit(vit, pretrained)
        self.stages = nn.ModuleList(_stages(vit.patch_embed, name))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps ``(N, 3, H, W)`` to the output of every stage, ``(N, C, h, w)``.

        h and w are H and W divided by the stride, rounded up.
        """
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return tuple(maps)

    def init_weights(self) -> None:
        """Does nothing: mmengine would overwrite the weights that timm has set."""


def _stages(embed: nn.Module, name: str | None) -> list[nn.Module]:
    """The parts of a patch embedding between two strides.

    Raises:
        ConfigError: The patch embedding is a single projection without convolutional
            stages.
    """
    if isinstance(embed, ConvStem):
        layers = list(embed.layers)
        return [nn.Sequential(*layers[i : i + 3]) for i in range(0, len(layers), 3)]
    if isinstance(embed, HybridEmbed) and isinstance(embed.backbone, ResNetV2):
        resnet: Any = embed.backbone
        first, *others = resnet.stages
        return [nn.Sequential(resnet.stem, first), *others]
    raise ConfigError(
        f'{name or "this transformer"} cuts the image into patches by one projection and '
        "has no convolutional stem: name an R50-hybrid such as 'vit_base_r50_s16_384', or "
        "give stem='conv' without a name",
        token=name or 'stem',
    )
