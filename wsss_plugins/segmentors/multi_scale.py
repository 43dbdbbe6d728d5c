"""A segmentor with multi-scale inputs, whose logits are fused by their maximum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS


@MODELS.register_module()
class MultiScaleSegmentor(EncoderDecoder):
    """Multi-scale inputs with max fusion (MSC), in training and in testing.

    The image and smaller copies of it pass through the same network. The logits of the
    copies are resized to the size of the image's logits, and the maximum for each pixel
    and class is the result. In training the loss is the sum of one loss for each scale,
    at the size of its own logits, and one for the maximum.

    Source: Chen et al., "DeepLab", PAMI 2017, section 4.1 ("multi-scale inputs", max
    fusion), as the port kazuto1011/deeplab-pytorch trains it.

    Args:
        scales: Factors of the copies' sides, beside the image itself.
        shrink_labels: Whether losses compare the logits with label maps downsampled to
            the size of the logits (nearest pixel), as published. Otherwise the logits
            are upsampled to the label map, as in mmseg.
        kwargs: Arguments of mmseg's ``EncoderDecoder``. The decode head must be one
            that computes its losses from its logits, as most do.

    Raises:
        ConfigError: A scale is not positive.
    """

    def __init__(
        self,
        scales: Sequence[float] = (0.5, 0.75),
        shrink_labels: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not all(scale > 0 for scale in scales):
            raise ConfigError(f'scales must be positive, not {scales}', token='scales')
        self.scales = tuple(scales)
        self.shrink_labels = shrink_labels

    def encode_decode(
        self, inputs: Tensor, batch_img_metas: list[dict[str, Any]]
    ) -> Tensor:
        """Fused logits ``(N, classes, H, W)`` of images ``(N, 3, H, W)``."""
        fused = self._forward(inputs)
        return self.decode_head.predict_by_feat(fused, batch_img_metas)

    def _forward(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> Tensor:
        """Fused logits ``(N, classes, h, w)``, of the size of the head's."""
        return self._logits(inputs, self.extract_feat(inputs))['max']

    def loss(
        self, inputs: Tensor, data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """Losses of each scale and of the maximum, named ``scale_0.5.loss_ce`` and so on."""
        features = self.extract_feat(inputs)
        losses: dict[str, Tensor] = {}
        for name, logits in self._logits(inputs, features).items():
            samples = self._samples(data_samples, logits)
            found = self.decode_head.loss_by_feat(logits, samples)
            losses |= add_prefix(found, f'scale_{name}')
        if self.with_auxiliary_head:
            losses |= self._auxiliary_head_forward_train(features, data_samples)
        return losses

    def _logits(self, inputs: Tensor, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits of the image, of every copy, and their maximum, by name."""
        found = {'1': self.decode_head(features)}
        for scale in self.scales:
            copy = F.interpolate(
                inputs, scale_factor=scale, mode='bilinear', align_corners=False
            )
            found[f'{scale:g}'] = self.decode_head(self.extract_feat(copy))
        size = found['1'].shape[2:]
        resized = [
            F.interpolate(logits, size=size, mode='bilinear', align_corners=False)
            for logits in found.values()
        ]
        return found | {'max': torch.stack(resized).max(0).values}

    def _samples(
        self, samples: list[SegDataSample], logits: Tensor
    ) -> list[SegDataSample]:
        """The label maps, downsampled to the logits with ``shrink_labels``."""
        if not self.shrink_labels:
            return samples
        size = (logits.shape[2], logits.shape[3])
        shrunk = []
        for sample in samples:
            label = shrink_label(sample.gt_sem_seg.data, size)
            shrunk.append(SegDataSample(gt_sem_seg=PixelData(data=label)))
        return shrunk


def shrink_label(label: Tensor, size: tuple[int, int]) -> Tensor:
    """A label map ``(1, H, W)`` downsampled to ``size``: each cell's centre pixel."""
    values = label[None].to(torch.float32)
    return F.interpolate(values, size=size, mode='nearest-exact')[0].to(label.dtype)
