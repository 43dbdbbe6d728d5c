"""Cross entropy in which objects and background have equal weight."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses.whole_batch import whole_batch_mean
from wsss_plugins.registry import MODELS

OVER = ('image', 'batch')


@MODELS.register_module()
class BalancedCrossEntropyLoss(nn.Module):
    """Mean cross entropy of the object pixels plus that of the background pixels.

    The object pixels together have the weight of the background pixels together,
    however few they are. An image without object pixels, or without background pixels,
    adds 0 for that term.

    Source: Huang et al., "Weakly-Supervised Semantic Segmentation Network with Deep Seeded
    Region Growing" (DSRG), CVPR 2018, eq. 2; without the balance this is the seeding
    loss of Kolesnikov and Lampert (SEC), ECCV 2016.

    Args:
        background: Factor of the background's mean, label 0.
        foreground: Factor of the objects' mean, all other labels.
        over: Means over the pixels of each ``'image'``, averaged over the batch, as in
            DSRG; or over those of the whole ``'batch'``, that of all workers.
        loss_weight: Factor of the sum.
        loss_name: Its name in logs; one that begins with 'loss' is trained on.

    Raises:
        ConfigError: ``over`` is neither 'image' nor 'batch'.
    """

    def __init__(
        self,
        background: float = 1.0,
        foreground: float = 1.0,
        over: str = 'image',
        loss_weight: float = 1.0,
        loss_name: str = 'loss_balanced',
    ) -> None:
        super().__init__()
        if over not in OVER:
            raise ConfigError(f'over must be one of {OVER}, not {over!r}', token='over')
        self.background = background
        self.foreground = foreground
        self.over = over
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Compares logits with a label map.

        Args:
            cls_score: Logits ``(N, classes, H, W)``, background first.
            label: ``(N, H, W)`` int64.
            weight: ``(N, H, W)``, weight of each pixel in its mean; 1 by default.
            ignore_index: Label of pixels that are left out.

        Returns:
            A scalar >= 0.
        """
        costs = F.cross_entropy(
            cls_score, label, reduction='none', ignore_index=ignore_index
        )
        counts = (label != ignore_index).to(costs)
        if weight is not None:
            counts = counts * weight
        is_background = (label == 0).to(costs)
        background = self._mean(costs, counts * is_background)
        foreground = self._mean(costs, counts * (1 - is_background))
        return self.loss_weight * (
            self.background * background + self.foreground * foreground
        )

    def _mean(self, costs: Tensor, counts: Tensor) -> Tensor:
        """Weighted mean over the pixels; 0 where none counts."""
        if self.over == 'batch':
            return whole_batch_mean((costs * counts).sum(), counts.sum())
        total = counts.sum((1, 2))
        return ((costs * counts).sum((1, 2)) / total.where(total > 0, 1)).mean()
