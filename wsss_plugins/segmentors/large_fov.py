"""The segmentation head of ResNet38 in weakly supervised work: a large field of view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.registry import MODELS

FORMS = ('rrm', 'seam', 'toco')


@MODELS.register_module()
class LargeFOVHead(BaseDecodeHead):
    """Two or three convolutions, the first of them 3x3 with a large rate.

    ``'rrm'``: 3x3, ReLU, and a 3x3 of the same rate that classifies; Xavier weights. Of
    Zhang et al., "Reliability Does Matter: An End-to-End Weakly Supervised Semantic
    Segmentation Approach", AAAI 2020, and the segmentor of MCTformer (Xu et al., CVPR
    2022).

    ``'seam'``: 3x3, 1x1, both with batch norm and ReLU, dropout and a 1x1 that classifies;
    He's weights. Of the segmentation code of the authors of SEAM (Wang et al., CVPR 2020).

    ``'toco'``: two 3x3 of the same rate, each with ReLU, and a 1x1 that classifies, all
    without bias; He's weights. Of the code of Ru et al., "Token Contrast for
    Weakly-Supervised Semantic Segmentation", CVPR 2023, with rate 5.

    The first two are DeepLab-LargeFOV (Chen et al., ICLR 2015) on :class:`WideResNet38`.
    For VGG16 they are not needed: :class:`VGG16LargeFOV` has these layers itself.

    Args:
        channels: Channels between the convolutions.
        dilation: The rate.
        form: ``'rrm'``, ``'seam'`` or ``'toco'``.
        init_cfg: mmengine's.
        kwargs: Arguments of mmseg's ``BaseDecodeHead``. ``norm_cfg`` and
            ``dropout_ratio`` are for ``'seam'``, by default ``BN`` and 0.5.

    Raises:
        ConfigError: ``form`` is unknown.
    """

    def __init__(
        self,
        channels: int = 512,
        dilation: int = 12,
        form: str = 'rrm',
        init_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if form not in FORMS:
            raise ConfigError(
                f"unknown form '{form}': {near_names(form, FORMS)}", token=form
            )
        normed, plain = form == 'seam', form == 'toco'
        kwargs.setdefault('dropout_ratio', 0.5 if normed else 0.0)
        kwargs.setdefault('norm_cfg', dict(type='BN') if normed else None)
        weights = (
            dict(type='Kaiming', mode='fan_out')
            if form != 'rrm'
            else dict(type='Xavier', distribution='uniform')
        )
        init_cfg = init_cfg or dict(weights, layer='Conv2d')
        super().__init__(channels=channels, init_cfg=init_cfg, **kwargs)
        rate = dict(padding=dilation, dilation=dilation)
        between = dict(norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        wide = dict(rate, **between, bias=False if plain else 'auto')
        layers = [ConvModule(self.in_channels, channels, 3, **wide)]
        if normed:
            layers.append(ConvModule(channels, channels, 1, **between))
        elif plain:
            layers.append(ConvModule(channels, channels, 3, **wide))
            self.conv_seg = nn.Conv2d(channels, self.out_channels, 1, bias=False)
        else:
            self.conv_seg = nn.Conv2d(
                channels, self.out_channels, 3, padding=dilation, dilation=dilation
            )
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits ``(N, classes, h, w)`` from the features of the chosen stage."""
        return self.cls_seg(self.layers(self._transform_inputs(inputs)))
