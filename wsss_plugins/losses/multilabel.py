"""Classification losses over image-level labels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.registry import MODELS


@MODELS.register_module()
class MultiLabelSoftMarginLoss(nn.Module):
    """Binary cross entropy of each class's logit, mean over classes and batch.

    Args:
        loss_weight: Factor of the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compares logits ``(N, C)`` with multi-hot labels ``(N, C)``; a scalar."""
        return self.loss_weight * F.multilabel_soft_margin_loss(logits, labels)
