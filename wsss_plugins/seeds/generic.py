"""Generic attention relevance."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import SeedHead, class_slots, from_slots, patch_grid


@SEED_HEADS.register_module()
class GenericAttentionRelevance(SeedHead):
    """Rollout of the positive part of gradient times attention.

    ``R = (I + A_L) ... (I + A_1)`` with ``A`` the mean over heads of ``(G * attention)+``;
    the class token's row is the map.

    Source: Chefer et al., Generic Attention-model Explainability, 2021, eqs. 5 and 6.
    """

    needs_grad = True

    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """The relevance of every patch for each present class, ``(N, C, h, w)``."""
        slots = class_slots(labels)
        gradients = trace.attention_gradients(model.class_logits(trace.tokens), slots)
        row = torch.zeros_like(gradients[0][:, :, 0, :1])  # (K, N, 1, T)
        row[..., 0] = 1
        for gradient, attn in zip(
            reversed(gradients), reversed(trace.attn), strict=True
        ):
            row = row + row @ (gradient * attn).clamp(min=0).mean(2)
        maps = patch_grid(row[:, :, 0, trace.num_prefix :], trace)
        return from_slots(maps, slots)
