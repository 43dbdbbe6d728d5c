"""GradCAM on the attention of the last block."""

from __future__ import annotations

from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import PerClassHead, patch_grid


@SEED_HEADS.register_module()
class AttentionGradCAM(PerClassHead):
    """Class-to-patch attention of the heads, weighted by their mean gradient.

    The mean over heads is taken before negative values are removed. Maps may be all
    zero where every head speaks against the class.

    Source: Selvaraju et al., Grad-CAM, 2017, eqs. 1 and 2, on attention as the baseline of
    Chefer et al., Transformer Interpretability Beyond Attention Visualization, 2021.
    """

    needs_class_token = True

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The weighted attention of the last block, ``(K, N, h, w)``."""
        last = len(trace.attn) - 1
        scores = model.class_logits(trace.tokens)
        (gradient,) = trace.attention_gradients(scores, slots, start=last)
        first = trace.num_prefix
        weight = gradient[..., 0, first:].mean(-1, keepdim=True)  # (K, N, heads, 1)
        maps = (trace.attn[last][:, :, 0, first:] * weight).mean(2)
        return patch_grid(maps, trace)
