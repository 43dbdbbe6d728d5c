"""The similarity of the features of two pixels, computed with little memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wsss_plugins.affinity.geometry import pair_offsets


def feature_affinities(features: Tensor, radius: int) -> Tensor:
    """``exp(-mean_d |f_i - f_j|)`` of every pair.

    Source: PSA, eq. 1; as in its code, the L1 norm is divided by the number of channels.
    Gathering both pixels of every pair would take P times the memory of the features.
    Here the pairs of one offset are the difference of two windows of the features. The
    backward pass recomputes this difference instead of storing it.

    Args:
        features: ``(N, D, H, W)``.
        radius: Radius of the pairs.

    Returns:
        ``(N, P, H, W)`` in (0, 1], differentiable once; 0 where the partner is outside
        the map.
    """
    return _FeatureAffinities.apply(features, radius)


class _FeatureAffinities(torch.autograd.Function):
    """The forward and backward pass of :func:`feature_affinities`."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, radius: int) -> Tensor:
        """Affinities ``(N, pairs, h, w)`` of features ``(N, D, h, w)``."""
        height, width = features.shape[-2:]
        pairs = len(pair_offsets(radius))
        affinities = features.new_zeros(len(features), pairs, height, width)
        for pair, (here, there) in enumerate(_windows(height, width, radius)):
            gap = (features[here] - features[there]).abs_().mean(1)
            affinities[:, pair][here] = gap.neg_().exp_()
        ctx.radius = radius
        ctx.save_for_backward(features, affinities)
        return affinities

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Gradient ``(N, D, h, w)`` of the features; the radius has none."""
        features, affinities = ctx.saved_tensors
        height, width = features.shape[-2:]
        factor = grad * affinities / features.shape[1]
        grad_features = torch.zeros_like(features)
        for pair, (here, there) in enumerate(_windows(height, width, ctx.radius)):
            change = (features[here] - features[there]).sign_()
            change *= factor[:, pair, None][here]
            grad_features[here] -= change
            grad_features[there] += change
        return grad_features, None


def _windows(height: int, width: int, radius: int) -> Iterator[tuple[Any, Any]]:
    """For each offset, indices of the pixels whose partner is on the map, and of these."""
    for dy, dx in pair_offsets(radius).tolist():
        left, right = max(0, -dx), max(0, dx)
        here = (slice(0, max(height - dy, 0)), slice(left, max(width - right, 0)))
        there = (slice(dy, height), slice(right, max(width - left, 0)))
        yield (..., *here), (..., *there)
