"""Arithmetic of the rules: two stabilised divisions, and layers linear in the input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

EPSILON = 1e-9


def safe_inverse(z: Tensor) -> Tensor:
    """``1 / (z + 1e-9)``, and 0 where ``z`` is 0.

    The constant is added whatever the sign of ``z``, as in the code of Chefer et al.,
    2021: near ``z = -1e-9`` the inverse grows without bound. Where the sum is exactly 0
    it is 1e9.
    """
    divisor = z + EPSILON
    inverse = torch.where(divisor == 0, 1 / EPSILON, 1 / divisor)
    return torch.where(z == 0, 0.0, inverse)


def stable_inverse(z: Tensor, epsilon: float) -> Tensor:
    """``1 / (z + epsilon * sign(z))``, with sign(0) = 1.

    Source: Bach et al., On Pixel-wise Explanations, 2015, eq. 58.
    """
    return 1 / (z + torch.where(z >= 0, epsilon, -epsilon))


def affine(
    layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """The output of a ``Linear`` or ``Conv2d`` layer with another weight and bias."""
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(
            x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups
        )
    return F.linear(x, weight, bias)


def affine_transpose(
    layer: nn.Module, s: Tensor, weight: Tensor, like: Tensor
) -> Tensor:
    """The transpose of :func:`affine` without bias, applied to ``s``.

    Args:
        layer: A ``Linear`` or ``Conv2d`` layer.
        s: A tensor of the shape of the output.
        weight: A weight of the shape of the layer's weight.
        like: An input, for its shape.

    Returns:
        A tensor of the shape of ``like``.
    """
    if isinstance(layer, nn.Conv2d):
        size = list(like.shape)
        place = (layer.stride, layer.padding, layer.dilation, layer.groups)
        return conv2d_input(size, weight, s, *place)
    return F.linear(s, weight.T)
