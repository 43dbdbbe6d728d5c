"""Attention rollout."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import UserError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import SeedHead, patch_grid


@SEED_HEADS.register_module()
class AttentionRollout(SeedHead):
    """Attention of the class token to each patch, propagated through all blocks.

    Each block's head-averaged attention plus the identity, rows divided by their sum,
    multiplied from the first block on. The map does not depend on the class: every
    present class gets the same map, unless the model has one class token per class.

    Source: Abnar & Zuidema, Quantifying Attention Flow in Transformers, 2020, eq. 1, as
    the baseline of Chefer et al., 2021, computes it.

    Args:
        start_block: First block of the product; negative counts from the end.
    """

    needs_class_token = True
    follows_class_tokens = True

    def __init__(self, start_block: int = 0) -> None:
        super().__init__()
        self.start_block = start_block

    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """The rollout of the class token, ``(N, C, h, w)``.

        Raises:
            UserError: The attention has negative values.
        """
        attn = trace.head_mean(self.start_block)
        if (attn < 0).any():
            raise UserError(
                f'the attention of {type(model.backbone).__name__} is negative in places, '
                'and AttentionRollout multiplies shares that sum to one: take CAM or '
                'GenericAttentionRelevance, or a model with softmax attention'
            )
        flow = rollout(attn)
        classes = model.backbone.num_class_tokens
        rows = patch_grid(flow[:, :classes, trace.num_prefix :], trace)
        return rows.expand(-1, labels.shape[1], -1, -1)


def rollout(attn: Tensor) -> Tensor:
    """Product of row-normalised ``attn + I``, the first block applied first.

    Args:
        attn: ``(L, N, T, T)``, mean over heads.

    Returns:
        ``(N, T, T)``; rows sum to 1.
    """
    identity = torch.eye(attn.shape[-1], dtype=attn.dtype, device=attn.device)
    flow = identity
    for layer in attn + identity:
        flow = layer / layer.sum(-1, keepdim=True) @ flow
    return flow
