"""The standardised convolution of the released ACR code."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from timm.layers import StdConv2d, StdConv2dSame, pad_same
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError


class DeviationConv2d(nn.Module):
    """Convolution with weights of mean 0 that are divided by their deviation.

    ``(w - mean) / (deviation + eps)`` over the inputs of each output channel, the
    deviation biased. timm's layers divide by ``sqrt(variance + eps)`` instead.

    Source: the ResNetV2 of timm 0.4.5, which the released code of Sun et al.,
    All-pairs Consistency Learning for WSSS, 2023, is built on.

    Args:
        conv: timm's layer, whose weights it shares.
        eps: Added to the deviation.
    """

    def __init__(self, conv: Any, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.eps = eps
        self.same_pad = getattr(conv, 'same_pad', False)
        self.kernel_size, self.stride = conv.kernel_size, conv.stride
        self.padding, self.dilation = conv.padding, conv.dilation
        self.groups = conv.groups

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(N, C, H, W)`` to ``(N, C', H', W')``."""
        if self.same_pad:
            x = pad_same(x, list(self.kernel_size), list(self.stride), self.dilation)
        weight = self.standardised()
        return F.conv2d(
            x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def standardised(self) -> Tensor:
        """The standardised weights, in the shape of ``weight``."""
        flat = self.weight.flatten(1)
        flat = flat - flat.mean(1, keepdim=True)
        variance = flat.square().mean(1, keepdim=True)
        deviation = variance.clamp(min=1e-30).sqrt()  # sqrt has no gradient at 0
        return (flat / (deviation + self.eps)).view_as(self.weight)


def divide_by_deviation(net: nn.Module, eps: float) -> None:
    """Replaces timm's standardised convolutions by :class:`DeviationConv2d`.

    Args:
        net: The network, which is changed in place; the names of its weights stay the
            same.
        eps: Added to the deviation, > 0.

    Raises:
        ConfigError: ``eps`` is not positive, or the network has no standardised
            convolution.
    """
    if not eps > 0:
        raise ConfigError(
            f"std_eps must be above 0 (1e-5 in the released ACR code), or None for timm's; "
            f'not {eps}',
            token='std_eps',
        )
    found = [
        (name, module)
        for name, module in net.named_modules()
        if isinstance(module, (StdConv2d, StdConv2dSame))
    ]
    if not found:
        raise ConfigError(
            'std_eps is for hybrids, such as vit_base_r50_s16_384: this model has no '
            'standardised convolution; leave std_eps out',
            token='std_eps',
        )
    for name, module in found:
        parent, _, last = name.rpartition('.')
        setattr(net.get_submodule(parent), last, DeviationConv2d(module, eps))
