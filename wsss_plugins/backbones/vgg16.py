"""VGG16 with a large field of view: the network of the first DeepLab.

Source: Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully
Connected CRFs", ICLR 2015, section 3 (DeepLab-LargeFOV), on Simonyan and Zisserman, "Very
Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, model D.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from wsss_plugins.backbones.weights import load_weights, read_weights
from wsss_plugins.errors import CheckpointError, ConfigError
from wsss_plugins.registry import MODELS

# Convolutions of each of the five stages, and their width in multiples of the first.
_STAGES = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))
_FC = {
    'fc6': ('classifier.0', 'pre_logits.fc1'),
    'fc7': ('classifier.3', 'pre_logits.fc2'),
}
"""The fully connected layers, with their names in torchvision and timm."""


@MODELS.register_module()
class VGG16LargeFOV(BaseModule):
    """One feature map of ``fc_channels`` channels and stride 8.

    The last two poolings keep the size, the convolutions between them are atrous (rate
    2), and the fully connected layers are convolutions: fc6 of 3x3 with a large rate, fc7
    of 1x1. Poolings are 3x3 and round up. The last layer, fc8, is the decode head's, e.g.
    mmseg's ``FCNHead`` without convolutions.

    The convolutions have torchvision's names (``features.0`` ...), so that its ``vgg16``
    and timm's load.

    Args:
        base_channels: Channels of the first convolution; 64 is the published width.
        fc_channels: Channels of fc6 and fc7.
        dilation: Rate of fc6.
        dropout: Share of the activations left out after fc6 and after fc7.
        average_pool: Whether a 3x3 average follows the last pooling, as in the published
            model.
        convert_fc: Whether fc6 and fc7 are initialised from the ImageNet classifier,
            subsampled as in the published model (see :func:`thin_fc`), or at random.
        pretrained: A file of weights in the names of torchvision or timm.
        init_cfg: mmengine's; nothing by default, since weights start from He's normal
            distribution.

    Raises:
        ConfigError: A size is not positive.
        CheckpointError: The weights cannot be read or do not fit.
    """

    def __init__(
        self,
        base_channels: int = 64,
        fc_channels: int = 1024,
        dilation: int = 12,
        dropout: float = 0.5,
        average_pool: bool = True,
        convert_fc: bool = True,
        pretrained: str | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if min(base_channels, fc_channels, dilation) < 1:
            raise ConfigError(
                'VGG16LargeFOV needs base_channels, fc_channels and dilation >= 1, not '
                f'{base_channels}, {fc_channels} and {dilation}',
                token='VGG16LargeFOV',
            )
        self.dropout = dropout
        self.features = _features(base_channels)
        self.average_pool = nn.AvgPool2d(3, 1, 1) if average_pool else nn.Identity()
        channels = _STAGES[-1][1] * base_channels
        self.fc6 = nn.Conv2d(
            channels, fc_channels, 3, padding=dilation, dilation=dilation
        )
        self.fc7 = nn.Conv2d(fc_channels, fc_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
                nn.init.zeros_(module.bias)
        if pretrained:
            weights = read_weights(pretrained)
            if convert_fc:
                weights |= self._converted(weights)
            report = load_weights(self, weights, pretrained, strict=False)
            print_log(f'{pretrained}: {report}', logger='current')

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Maps ``(N, 3, H, W)`` to ``(N, fc_channels, h, w)``.

        h and w are (H - 1) / 8 + 1 and (W - 1) / 8 + 1, rounded up.
        """
        x = self.average_pool(self.features(images))
        for layer in (self.fc6, self.fc7):
            x = F.dropout(F.relu(layer(x)), self.dropout, self.training)
        return (x,)

    def _converted(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """fc6 and fc7 from the classifier's layers, if the file has them."""
        found = {}
        for layer, names in _FC.items():
            shape = self.get_submodule(layer).weight.shape
            for name in names:
                if f'{name}.weight' in weights:
                    full = weights[f'{name}.weight'], weights[f'{name}.bias']
                    thin = thin_fc(*full, shape)
                    found.update({f'{layer}.weight': thin[0], f'{layer}.bias': thin[1]})
        return found


def _features(width: int) -> nn.Sequential:
    """Convolutions, ReLUs and poolings in torchvision's order."""
    layers: list[nn.Module] = []
    channels = 3
    for stage, (count, factor) in enumerate(_STAGES):
        rate = 2 if stage == 4 else 1
        for _ in range(count):
            layers.append(nn.Conv2d(channels, factor * width, 3, 1, rate, rate))
            layers.append(nn.ReLU(inplace=True))
            channels = factor * width
        stride = 2 if stage < 3 else 1
        layers.append(nn.MaxPool2d(3, stride, 1, ceil_mode=True))
    return nn.Sequential(*layers)


def thin_fc(
    weight: Tensor, bias: Tensor, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Turns a fully connected layer of VGG into a convolution with fewer entries.

    Evenly spaced outputs, inputs and kernel positions are kept: of fc6's 4096 outputs and
    7x7 positions every fourth and every third, as Chen et al. (2015), section 3.2, and
    Liu et al., ParseNet, 2015 do.

    Args:
        weight: ``(O, I * k * k)``, or ``(O, I, k, k)`` as timm has it.
        bias: ``(O,)``.
        shape: ``(o, i, h, w)`` of the convolution, o <= O and so on.

    Returns:
        ``(o, i, h, w)`` and ``(o,)``.

    Raises:
        CheckpointError: The layer is smaller than the convolution.
    """
    if weight.ndim == 2:
        side = 1 if shape[2] == 1 else math.isqrt(weight.shape[1] // shape[1])
        weight = weight.reshape(len(weight), -1, side, side)
    if any(have < want for have, want in zip(weight.shape, shape, strict=True)):
        raise CheckpointError(
            f'a fully connected layer of shape {tuple(weight.shape)} cannot be thinned to '
            f'{tuple(shape)}: give convert_fc=False'
        )
    bias = bias[_spaced(len(bias), shape[0])]
    for axis, count in enumerate(shape):
        weight = weight.index_select(axis, _spaced(weight.shape[axis], count))
    return weight, bias


def _spaced(have: int, want: int) -> Tensor:
    """``want`` evenly spaced positions of ``have``, the first one included."""
    return torch.arange(want) * ((have - 1) // max(want - 1, 1))
