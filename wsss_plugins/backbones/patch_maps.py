"""The patch tokens of a transformer as the feature map of a segmentor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from wsss_plugins.backbones.base import TokenBackbone
from wsss_plugins.registry import MODELS, build_as


@MODELS.register_module()
class PatchMaps(BaseModule):
    """A :class:`TokenBackbone` as a backbone for mmsegmentation: one map of its patches.

    So a segmentor can begin with the transformer that a classifier was trained with: name
    the classifier's stage as the ``backbone`` of its :class:`TrainStage`.

    Source of the design: Strudel et al., Segmenter, 2021, section 3.1.

    Args:
        backbone: A :class:`TokenBackbone` or its config.
        pretrained: In place of the backbone's own: True, or a file of its weights or of a
            classifier with it.
        init_cfg: mmengine's; ``dict(type='Pretrained', checkpoint=FILE)`` means the same
            as ``pretrained=FILE``.
    """

    def __init__(
        self,
        backbone: TokenBackbone | Mapping[str, Any],
        pretrained: bool | str | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        if init_cfg and init_cfg.get('type') == 'Pretrained':
            pretrained, init_cfg = init_cfg['checkpoint'], None
        super().__init__(init_cfg)
        if isinstance(backbone, Mapping) and pretrained is not None:
            backbone = {**backbone, 'pretrained': pretrained}
        self.backbone = build_as(MODELS, backbone, TokenBackbone)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Maps images ``(N, 3, H, W)`` to ``(N, D, h, w)``.

        Sides that are no multiple of the stride are stretched to the next one, so that
        the map covers the whole image: h is H divided by the stride, rounded up.
        """
        stride = self.backbone.stride
        height, width = (-(-side // stride) * stride for side in images.shape[-2:])
        if (height, width) != tuple(images.shape[-2:]):
            images = F.interpolate(
                images, size=(height, width), mode='bilinear', align_corners=False
            )
        return (self.backbone(images).patch,)

    def init_weights(self) -> None:
        """Does nothing: the backbone has set the weights, mmengine would set them anew."""
