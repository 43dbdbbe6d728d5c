"""Unary energies of a dense CRF."""

from __future__ import annotations

import torch
from torch import Tensor


def unary_from_scores(scores: Tensor, clip: float = 1e-5) -> Tensor:
    """Unary energy ``-log(s)`` of scores ``(L, H, W)`` clipped to ``[clip, 1]``."""
    return -scores.clamp(clip, 1).log()


def unary_from_labels(
    labels: Tensor, num_labels: int, confidence: float = 0.7
) -> Tensor:
    """Unary energy of a label map that is correct with probability ``confidence``.

    Args:
        labels: ``(H, W)`` integers in 0..num_labels - 1.
        num_labels: L.
        confidence: Probability of the given label; the others share the rest.

    Returns:
        ``(L, H, W)`` float32.
    """
    rest = (1 - confidence) / max(num_labels - 1, 1)
    chosen = torch.arange(num_labels, device=labels.device)[:, None, None] == labels
    return -torch.where(chosen, confidence, rest).log()
