"""Generic attention relevance."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import PerClassHead, class_rows, patch_grid


@SEED_HEADS.register_module()
class GenericAttentionRelevance(PerClassHead):
    """Rollout of the positive part of gradient times attention.

    ``R = (I + A_L) ... (I + A_1)`` with ``A`` the mean over heads of ``(G * attention)+``;
    The map is the row of the class token, or of the token of the class where each class
    has one. Where the logits come from the patch tokens, the map is the mean of their
    rows of ``R - I``.

    Source: Chefer et al., Generic Attention-model Explainability, 2021, eqs. 5 and 6.
    """

    needs_class_token = False  # without one, the rows of the patches are read
    follows_class_tokens = True

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The relevance of every patch for each class, ``(K, N, h, w)``."""
        gradients = trace.attention_gradients(model.class_logits(trace.tokens), slots)
        start = torch.zeros_like(gradients[0][:, :, 0, :1])  # (K, N, 1, T)
        if model.head.reads_class_token:
            rows = class_rows(model, slots)[..., None, None]
            start = start.scatter(-1, rows, 1)
        else:
            start[..., trace.num_prefix :] = 1 / (start.shape[-1] - trace.num_prefix)
        row = start
        for gradient, attn in zip(
            reversed(gradients), reversed(trace.attn), strict=True
        ):
            row = row + row @ (gradient * attn).clamp(min=0).mean(2)
        return patch_grid((row - start)[:, :, 0, trace.num_prefix :], trace)
