"""The attention of one block as a map."""

from __future__ import annotations

from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.blocks import block_index
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import SeedHead, patch_grid


@SEED_HEADS.register_module()
class RawAttention(SeedHead):
    """Attention of the class token to the patches in one block, averaged over heads.

    The map does not depend on the class: every present class gets the same map, unless
    the model has one class token per class.

    Source: the baseline 'raw attention' of Chefer et al., Transformer Interpretability
    Beyond Attention Visualization, 2021.

    Args:
        block: The block; negative counts from the end.
    """

    needs_class_token = True
    follows_class_tokens = True

    def __init__(self, block: int = -1) -> None:
        super().__init__()
        self.block = block

    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """The class token's row of the attention, ``(N, C, h, w)``."""
        attn = trace.attn[block_index(self.block, len(trace.attn))]
        classes = model.backbone.num_class_tokens
        rows = patch_grid(attn.mean(1)[:, :classes, trace.num_prefix :], trace)
        return rows.expand(-1, labels.shape[1], -1, -1)
