"""A light segmentation head on several maps of a network, which also sees the whole photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS


@MODELS.register_module()
class GlobalContextHead(BaseDecodeHead):
    """1x1 convolutions on every map, joined on the finest grid with the mean of the last.

    Every map has a convolution of its own; the results are enlarged to the finest map and
    fused by one more, as in the decoder of SegFormer (Xie et al., NeurIPS 2021). The mean
    of the last map over the image, through a linear layer, joins them at every cell: the
    global context of ParseNet (Liu et al., 2015) and DeepLabV3 (Chen et al., 2017). On a
    frozen network, where no layer of the head sees beyond a cell, it is what tells a cow
    from a sheep.

    Args:
        in_channels: Channels of each chosen map.
        in_index: Which maps of the network, finest first; the mean is that of the last.
        channels: Channels of every layer of the head.
        kwargs: Arguments of mmseg's ``BaseDecodeHead``.

    Raises:
        ConfigError: ``in_channels`` and ``in_index`` are not as many.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_index: Sequence[int],
        channels: int = 128,
        **kwargs: Any,
    ) -> None:
        if len(in_channels) != len(in_index) or not in_channels:
            raise ConfigError(
                'GlobalContextHead needs one of in_channels for each map of in_index, not '
                f'{list(in_channels)} and {list(in_index)}',
                token='in_channels',
            )
        kwargs.setdefault('align_corners', False)
        super().__init__(
            list(in_channels),
            channels,
            in_index=list(in_index),
            input_transform='multiple_select',
            **kwargs,
        )
        between = dict(norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        self.convs = nn.ModuleList(
            ConvModule(many, channels, 1, **between) for many in in_channels
        )
        self.context = nn.Sequential(nn.Linear(in_channels[-1], channels), nn.ReLU())
        self.fusion = ConvModule(
            (len(in_channels) + 1) * channels, channels, 1, **between
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits ``(N, classes, h, w)`` on the grid of the finest chosen map."""
        maps = self._transform_inputs(inputs)
        size = maps[0].shape[2:]
        joined = [
            F.interpolate(
                conv(each), size, mode='bilinear', align_corners=self.align_corners
            )
            for conv, each in zip(self.convs, maps, strict=True)
        ]
        context = self.context(maps[-1].mean((2, 3)))[:, :, None, None]
        joined.append(context.expand_as(joined[0]))
        return self.cls_seg(self.fusion(torch.cat(joined, 1)))
