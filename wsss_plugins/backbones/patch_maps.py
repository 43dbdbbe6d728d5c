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
    """A :class:`TokenBackbone` as a backbone of mmsegmentation with one feature map.

    A segmentor can therefore start from the transformer of a trained classifier: name
    the classifier's stage as the ``backbone`` of the segmentor's :class:`TrainStage`.

    Source of the design: Strudel et al., Segmenter, 2021, section 3.1.

    Args:
        backbone: A :class:`TokenBackbone` or its config.
        pretrained: Replaces ``pretrained`` of the backbone: True, or a file of weights
            of the backbone or of a classifier with it.
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

        Sides that are not multiples of the stride are resized to the next multiple, so
        that the map covers the whole image: h is H divided by the stride, rounded up.
        """
        stride = self.backbone.stride
        height, width = (-(-side // stride) * stride for side in images.shape[-2:])
        if (height, width) != tuple(images.shape[-2:]):
            images = F.interpolate(
                images, size=(height, width), mode='bilinear', align_corners=False
            )
        return (self.backbone(images).patch,)

    def init_weights(self) -> None:
        """Does nothing: the weights are initialised; mmengine would overwrite them."""
