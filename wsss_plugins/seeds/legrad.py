"""LeGrad."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.blocks import block_index
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import UserError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import PerClassHead, patch_grid


@SEED_HEADS.register_module()
class LeGrad(PerClassHead):
    """Positive gradients of each block's own class score by its attention.

    The tokens after every block are classified as if it were the last one. The gradient
    of that score by the block's attention, without its negative part, is averaged over
    heads, queries and blocks.

    Source: Bousselham et al., LeGrad: An Explainability Method for Vision Transformers
    via Feature Formation Sensitivity, 2024, eqs. 5 to 8.

    Args:
        start_block: First block that is read; negative counts from the end.
        kwargs: See :class:`PerClassHead`.

    Raises:
        UserError: The tokens between the blocks of the backbone cannot be captured.
    """

    needs_class_token = False  # the row of every token is read

    def __init__(self, start_block: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_block = start_block

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The mean sensitivity to every patch, ``(K, N, h, w)``."""
        if not trace.hidden:
            raise UserError(
                f'{type(model.backbone).__name__} does not show the tokens between its '
                'blocks, which LeGrad needs: use a TimmViT, or write its blocks()'
            )
        start = block_index(self.start_block, len(trace.attn), 'start_block')
        maps = torch.stack(
            [
                self._block_map(model, trace, slots, block)
                for block in range(start, len(trace.attn))
            ]
        ).mean(0)
        return patch_grid(maps, trace)

    @staticmethod
    def _block_map(
        model: WSSSClassifier, trace: Trace, slots: Tensor, block: int
    ) -> Tensor:
        """One block's sensitivity, ``(K, N, n)``."""
        tokens = model.backbone.finish(trace.hidden[block], trace.grid)
        scores = model.class_logits(tokens)
        back = trace.backward(scores, slots, [trace.attn[block]])
        rows = [g.clamp(min=0).mean((1, 2)) for (g,) in back]
        return torch.stack(rows)[..., trace.num_prefix :]
