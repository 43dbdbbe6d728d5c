"""All-pairs consistency: two views of an image should attend alike.

Source: Sun et al., All-pairs Consistency Learning for Weakly Supervised Semantic
Segmentation (ACR), 2023, eqs. 1 to 6, and its released code; the differences between
the two are listed in docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.registry import MODELS

VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    'hflip': lambda x: x.flip(-1),
    'vflip': lambda x: x.flip(-2),
    'rot90': lambda x: torch.rot90(x, 1, (-2, -1)),
    'rot180': lambda x: torch.rot90(x, 2, (-2, -1)),
    'rot270': lambda x: torch.rot90(x, 3, (-2, -1)),
}
"""View transforms of the last two axes that permute patches; rotations counter-clockwise."""

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'l1': F.l1_loss,
    'l2': F.mse_loss,
    'smooth_l1': F.smooth_l1_loss,
}


def view_permutation(view: str, grid: tuple[int, int]) -> Tensor:
    """Which patch of the image stands at each patch of its view.

    Args:
        view: A key of :data:`VIEWS`.
        grid: ``(h, w)`` of the image before the transform.

    Returns:
        ``(h * w,)`` int64: entry k is the row-major index, in the image, of the patch
        at row-major position k of the view.
    """
    return VIEWS[view](torch.arange(grid[0] * grid[1]).reshape(grid)).reshape(-1)


def restore_order(attn: Tensor, permutation: Tensor) -> Tensor:
    """Re-orders the patches of a view's attention as they stand in the image.

    An index permutation of rows and columns; equal to the Kronecker form of ACR eq. 5.

    Args:
        attn: ``(..., P + n, P + n)`` attention of the view, prefix tokens first.
        permutation: ``(n,)``, of :func:`view_permutation`.

    Returns:
        The same shape, in the order of the image.
    """
    prefix = attn.shape[-1] - len(permutation)
    back = permutation.argsort() + prefix
    order = torch.cat([torch.arange(prefix, device=back.device), back])
    return attn.index_select(-2, order).index_select(-1, order)


@MODELS.register_module()
class AttentionConsistencyLoss(nn.Module):
    """Region activation and region affinity consistency of ACR.

    ``L_act`` compares the class token's row over the patches, ``L_aff`` the
    patch-to-patch block; both are means over batch, blocks and entries of the
    head-averaged attention. Gradients flow into both views.

    Args:
        activation_weight: alpha of eq. 6; 0 switches ``L_act`` off.
        affinity_weight: beta of eq. 6; 0 switches ``L_aff`` off.
        distance: ``'l1'`` (the paper), ``'l2'`` or ``'smooth_l1'`` (its table 8).

    Raises:
        ConfigError: Unknown distance.
    """

    def __init__(
        self,
        activation_weight: float = 100.0,
        affinity_weight: float = 100.0,
        distance: str = 'l1',
    ) -> None:
        super().__init__()
        if distance not in DISTANCES:
            raise ConfigError(
                f"unknown distance '{distance}': {near_names(distance, DISTANCES)}",
                distance,
            )
        self.activation_weight = activation_weight
        self.affinity_weight = affinity_weight
        self.distance = DISTANCES[distance]

    def forward(
        self, attn: Tensor, other: Tensor, num_prefix: int = 1
    ) -> dict[str, Tensor]:
        """Compares two stacks of attention whose tokens are in the same order.

        Args:
            attn: ``(L, N, T, T)`` of the image, mean over heads.
            other: The same of the view, after :func:`restore_order`.
            num_prefix: How many of the T tokens stand before the patches; the class
                token is the first.

        Returns:
            ``loss_act`` and ``loss_aff``, weighted; a term of weight 0 is left out.
        """
        p = num_prefix
        losses = {}
        if self.activation_weight:
            gap = self.distance(attn[..., 0, p:], other[..., 0, p:])
            losses['loss_act'] = self.activation_weight * gap
        if self.affinity_weight:
            gap = self.distance(attn[..., p:, p:], other[..., p:, p:])
            losses['loss_aff'] = self.affinity_weight * gap
        return losses
