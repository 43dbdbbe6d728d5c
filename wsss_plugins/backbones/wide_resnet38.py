"""The wide residual network with 38 layers that AffinityNet was published with.

Source: Wu, Shen and van den Hengel, "Wider or Deeper: Revisiting the ResNet Model for
Visual Recognition", 2016, model A1; dilated to stride 8 as in Ahn and Kwak, "Learning
Pixel-level Semantic Affinity with Image-level Supervision" (PSA), CVPR 2018.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from wsss_plugins.backbones.weights import load_weights, read_weights
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS


class _Stage(NamedTuple):
    """Blocks of equal widths, in multiples of the width of the first convolution."""

    name: str
    blocks: int
    widths: tuple[int, ...]
    stride: int = 1
    dilation: int = 1
    dropout: float = 0.0


_STAGES = (
    _Stage('b2', 3, (2, 2), stride=2),
    _Stage('b3', 3, (4, 4), stride=2),
    _Stage('b4', 6, (8, 8), stride=2),
    _Stage('b5', 3, (8, 16), dilation=2),
    _Stage('b6', 1, (8, 16, 32), dilation=4, dropout=0.3),
    _Stage('b7', 1, (16, 32, 64), dilation=4, dropout=0.5),
)


class PreActivationBlock(nn.Module):
    """Batch norm, ReLU and convolution, two or three times, and a shortcut.

    Args:
        in_channels: Channels of the input.
        widths: Channels after each convolution: two of 3x3, or 1x1, 3x3 and 1x1.
        stride: Stride of the first convolution.
        dilation: Dilation of the 3x3 convolutions.
        first_dilation: Dilation of the first convolution.
        dropout: Share of the channels left out before every convolution but the first.
    """

    is_block = True  # of activation checkpointing, see checkpointing.blocks_of

    def __init__(
        self,
        in_channels: int,
        widths: tuple[int, ...],
        stride: int = 1,
        dilation: int = 1,
        first_dilation: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.branches = ('2a', '2b1', '2b2')[: len(widths)]
        self.dropout = dropout
        kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
        self.conv_branch1 = None
        if in_channels != widths[-1] or stride > 1:
            self.conv_branch1 = nn.Conv2d(
                in_channels, widths[-1], 1, stride, bias=False
            )
        rate = first_dilation
        for name, width, kernel in zip(self.branches, widths, kernels, strict=True):
            padding = rate * (kernel // 2)
            conv = nn.Conv2d(
                in_channels, width, kernel, stride, padding, rate, bias=False
            )
            self.add_module(f'bn_branch{name}', nn.BatchNorm2d(in_channels))
            self.add_module(f'conv_branch{name}', conv)
            in_channels, stride, rate = width, 1, dilation

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and its input after the first batch norm and ReLU."""
        first = F.relu(self.get_submodule('bn_branch2a')(x))
        shortcut = x if self.conv_branch1 is None else self.conv_branch1(first)
        branch = self.get_submodule('conv_branch2a')(first)
        for name in self.branches[1:]:
            branch = F.relu(self.get_submodule(f'bn_branch{name}')(branch))
            branch = F.dropout2d(branch, self.dropout, self.training)
            branch = self.get_submodule(f'conv_branch{name}')(branch)
        return shortcut + branch, first


@MODELS.register_module()
class WideResNet38(BaseModule):
    """Feature maps of 512, 1024 and 4096 channels, all of stride 8.

    PSA calls them conv4, conv5 and conv6: the activations that enter b5 and b6, and the
    last ones. The weights have the names of PSA's conversion of the published file
    ``ilsvrc-cls_rna-a1_cls1000_ep-0001``, so that its conversion and weights trained by
    PSA load.

    Args:
        base_channels: Channels of the first convolution; the stages have 2 to 64 times
            as many. 64 is the published width.
        frozen_stages: Number of stages that are not trained: -1 none, 0 the first
            convolution (PSA's classifier), 1 also b2 (PSA's AffinityNet), 2 also b3 ...
        norm_eval: Whether batch norms keep their loaded statistics and weights, as in
            PSA. Use False to train from scratch.
        pretrained: A file of weights.
        init_cfg: mmengine's; ``dict(type='Pretrained', checkpoint=FILE)`` means the
            same as ``pretrained=FILE``.

    Raises:
        ConfigError: ``frozen_stages`` is below -1 or above the number of stages.
        CheckpointError: The weights cannot be read or do not fit.
    """

    def __init__(
        self,
        base_channels: int = 64,
        frozen_stages: int = 0,
        norm_eval: bool = True,
        pretrained: str | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        if init_cfg and init_cfg.get('type') == 'Pretrained':
            pretrained, init_cfg = init_cfg['checkpoint'], None
        super().__init__(init_cfg)
        if not -1 <= frozen_stages <= len(_STAGES):
            raise ConfigError(
                f'frozen_stages of WideResNet38 must be in -1..{len(_STAGES)}, not '
                f'{frozen_stages}',
                token='frozen_stages',
            )
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.conv1a = nn.Conv2d(3, base_channels, 3, padding=1, bias=False)
        self.blocks: list[str] = []
        channels = base_channels
        for stage in _STAGES:
            widths = tuple(factor * base_channels for factor in stage.widths)
            for i in range(stage.blocks):
                block = PreActivationBlock(
                    channels,
                    widths,
                    stride=1 if i else stage.stride,
                    dilation=stage.dilation,
                    first_dilation=stage.dilation if i else 1,
                    dropout=stage.dropout,
                )
                self.blocks.append(f'{stage.name}_{i}' if i else stage.name)
                self.add_module(self.blocks[-1], block)
                channels = widths[-1]
        self.bn7 = nn.BatchNorm2d(channels)
        if pretrained:
            weights = read_weights(pretrained)
            report = load_weights(self, weights, pretrained, strict=False)
            print_log(f'{pretrained}: {report}', logger='current')
        self._freeze()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps ``(N, 3, H, W)`` to conv4, conv5 and conv6, ``(N, C, h, w)``.

        h and w are H / 8 and W / 8, rounded up.
        """
        taps = []
        x = self.conv1a(images)
        for name in self.blocks:
            x, entered = self.get_submodule(name)(x)
            if name in ('b5', 'b6'):
                taps.append(entered)
        return taps[0], taps[1], F.relu(self.bn7(x))

    def train(self, mode: bool = True) -> WideResNet38:
        """Sets the mode of all stages that are not frozen."""
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        """Takes the frozen stages and batch norms out of training."""
        frozen = [stage.name for stage in _STAGES[: max(self.frozen_stages, 0)]]
        still = [self.get_submodule(n) for n in self.blocks if n[:2] in frozen]
        if self.frozen_stages >= 0:
            still.append(self.conv1a)
        if self.norm_eval:
            still += [m for m in self.modules() if isinstance(m, nn.BatchNorm2d)]
        for module in still:
            module.eval().requires_grad_(False)
