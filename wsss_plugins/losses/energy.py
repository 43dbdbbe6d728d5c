"""The energy that pulls a prediction to the borders of colours.

Source: Tang et al., "On Regularized Losses for Weakly-supervised CNN Segmentation", ECCV
2018, with the gate that Ru et al. (ToCo, CVPR 2023) and others add to it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS
from wsss_plugins.structures import IGNORE

ROWS_AT_ONCE = 1024
"""Pixels whose similarities to all others are in memory at once."""


@MODELS.register_module()
class EnergyLoss(nn.Module):
    """Dense CRF energy of class probabilities, on images of half the size.

    ``-weight / N sum_c sum_ab gate_a S_a K_ab S_b`` with S the probabilities inside the
    box, K a Gaussian of place and colour that is not normalised, and the gate ``1 - max p``
    of each pixel, or 1 where the label is unsure. Its gradient is that of the released
    code, in which the gate is a constant and counts once: it is not the derivative.

    K is summed exactly here, where the code filters on a lattice; this takes the square of
    the number of pixels, so that a GPU is needed for photos of full size.

    Args:
        sigma_colour: Width in grey levels.
        sigma_place: Width in pixels of the image.
        weight: Factor in the code of the loss.
        loss_weight: Factor of the loss; ToCo has 0.05.

    Raises:
        ConfigError: A width is not positive.
    """

    def __init__(
        self,
        sigma_colour: float = 15.0,
        sigma_place: float = 100.0,
        weight: float = 1e-7,
        loss_weight: float = 0.05,
    ) -> None:
        super().__init__()
        if min(sigma_colour, sigma_place) <= 0:
            raise ConfigError(
                f'EnergyLoss needs widths > 0, not {sigma_colour} and {sigma_place}',
                token='sigma_colour',
            )
        self.sigma_colour, self.sigma_place = sigma_colour, sigma_place
        self.weight, self.loss_weight = weight, loss_weight

    def forward(
        self, logits: Tensor, images: Tensor, labels: Tensor, inside: Tensor
    ) -> Tensor:
        """The energy of a batch.

        Args:
            logits: ``(N, classes, H, W)``.
            images: ``(N, 3, H, W)`` RGB in 0..255.
            labels: ``(N, H, W)``; 255 is unsure.
            inside: ``(N, H, W)`` of {0, 1}: the part of the image that is no padding.

        Returns:
            A scalar <= 0.
        """
        size = [side // 2 for side in logits.shape[2:]]
        shares = F.interpolate(
            logits.softmax(1), size=size, mode='bilinear', align_corners=False
        )
        small = images[..., ::2, ::2][..., : size[0], : size[1]].to(shares)
        unsure = labels[:, ::2, ::2][:, : size[0], : size[1]] == IGNORE
        box = inside[:, ::2, ::2][:, : size[0], : size[1]].to(shares)
        gate = (box - shares.detach().amax(1)).clamp(min=0).masked_fill(unsure, 1)
        features = self._features(small)
        energy = _Energy.apply(shares, features, box[:, None], gate[:, None])
        return self.loss_weight * self.weight * energy / len(logits)

    def _features(self, images: Tensor) -> Tensor:
        """Place and colour ``(N, P, 5)`` in units of their widths."""
        height, width = images.shape[2:]
        y, x = torch.meshgrid(
            torch.arange(height, device=images.device),
            torch.arange(width, device=images.device),
            indexing='ij',
        )
        place = torch.stack([x, y]).to(images) / (self.sigma_place / 2)
        colours = images / self.sigma_colour
        both = torch.cat([place.expand(len(images), -1, -1, -1), colours], 1)
        return both.flatten(2).transpose(1, 2)


class _Energy(torch.autograd.Function):
    """The sum and its gradient as the released code writes both."""

    @staticmethod
    def forward(
        ctx: Any, shares: Tensor, features: Tensor, box: Tensor, gate: Tensor
    ) -> Tensor:
        """Minus the sum of ``gate S (K S)`` over pixels, classes and images."""
        masked = shares * box
        filtered = gaussian_sums(masked, features)
        ctx.save_for_backward(filtered, box, gate)
        return -(masked * gate * filtered).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        """``-2 gate (K S) box``."""
        filtered, box, gate = ctx.saved_tensors
        return -2 * grad * gate * filtered * box, None, None, None


@torch.no_grad()
def gaussian_sums(maps: Tensor, features: Tensor) -> Tensor:
    """``sum_b exp(-|f_a - f_b|^2 / 2) maps_b`` of every pixel a, b = a included.

    Args:
        maps: ``(N, C, H, W)``.
        features: ``(N, H W, D)``.

    Returns:
        ``(N, C, H, W)``, computed in float64.
    """
    flat, points = maps.flatten(2).double().transpose(1, 2), features.double()
    found = torch.cat(
        [
            (-0.5 * torch.cdist(rows, points).square()).exp() @ flat
            for rows in points.split(ROWS_AT_ONCE, 1)
        ],
        1,
    )
    return found.transpose(1, 2).reshape(maps.shape).to(maps.dtype)
