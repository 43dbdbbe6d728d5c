"""The decode head of DeepLabV2, which mmsegmentation does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from wsss_plugins.registry import MODELS


@MODELS.register_module()
class DeepLabV2Head(BaseDecodeHead):
    """Sum of parallel atrous 3x3 convolutions that give the class logits directly.

    No batch norm, no 1x1 branch and no image pooling: those came with version 3.

    Source: Chen et al., DeepLab, 2017, section 3.2 (ASPP-L: rates 6, 12, 18, 24); weights
    start from N(0, 0.01) and biases from 0.

    Args:
        dilations: The rates; those of the paper fit an output stride of 8 at 321 px.
        init_cfg: mmengine's.
        kwargs: Arguments of mmseg's ``BaseDecodeHead``; ``channels`` is not needed.
    """

    def __init__(
        self,
        dilations: Sequence[int] = (6, 12, 18, 24),
        init_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault('channels', kwargs['num_classes'])
        kwargs.setdefault('dropout_ratio', 0.0)
        init_cfg = init_cfg or dict(type='Normal', layer='Conv2d', std=0.01)
        super().__init__(init_cfg=init_cfg, **kwargs)
        self.conv_seg = nn.Identity()  # the branches classify
        self.branches = nn.ModuleList(
            nn.Conv2d(
                self.in_channels, self.out_channels, 3, padding=rate, dilation=rate
            )
            for rate in dilations
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits ``(N, classes, h, w)`` from the features of the chosen stage."""
        features = self._transform_inputs(inputs)
        if self.dropout is not None:
            features = self.dropout(features)
        return torch.stack([branch(features) for branch in self.branches]).sum(0)
