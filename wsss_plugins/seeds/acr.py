"""The gradient-based class localisation map of ACR."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace, capture
from wsss_plugins.blocks import block_index
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import (
    PerClassHead,
    class_rows,
    patch_grid,
    rows_of,
)

VARIANTS = ('grad', 'grad_s', 'cam_grad', 'cam_grad_s')
CLAMPS = ('before', 'after')


@SEED_HEADS.register_module()
class ACRGradientMap(PerClassHead):
    """Positive gradients of a class logit by the class-to-patch attention.

    The blocks from ``start_block`` on are summed. Optionally the map is propagated
    along the patch-to-patch attention, summed over blocks. All classes of all images
    share one forward pass, whose graph begins at ``start_block``; blocks whose
    attention is not read run fused attention.

    Source: Sun et al., All-pairs Consistency Learning for WSSS, 2023, eqs. 7 and 8, and
    the variants of its released code (``getam``). docs/methods.md lists the differences
    between the paper and the code.

    Args:
        start_block: First block that is read; negative counts from the end. The released
            scripts read the last two.
        variant: With G the gradient and A the attention: ``'grad'`` mean of G+ (the
            paper); ``'grad_s'`` its square; ``'cam_grad'`` mean of (G A)+;
            ``'cam_grad_s'`` mean of (G A)+ times mean of G+.
        affinity: Whether to propagate the map along the patch affinity.
        clamp: Whether negative values are removed per head, ``'before'`` the mean over
            heads (the released code), or ``'after'`` it.
        affinity_blocks: The blocks whose attention the map is propagated along;
            negative indices count from the end. By default all blocks, as in the
            released code.
        kwargs: See :class:`PerClassHead`.

    Raises:
        ConfigError: ``variant`` or ``clamp`` is unknown, or ``affinity_blocks`` is
            empty.
    """

    needs_class_token = True
    follows_class_tokens = True

    def __init__(
        self,
        start_block: int = -2,
        variant: str = 'grad',
        affinity: bool = True,
        clamp: str = 'before',
        affinity_blocks: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if variant not in VARIANTS:
            raise ConfigError(
                f'variant must be one of {VARIANTS}, not {variant!r}', token='variant'
            )
        if clamp not in CLAMPS:
            raise ConfigError(
                f'clamp must be one of {CLAMPS}, not {clamp!r}', token='clamp'
            )
        if affinity and affinity_blocks is not None and not affinity_blocks:
            raise ConfigError(
                'affinity_blocks names no block: give some, None for all, or '
                'affinity=False',
                token='affinity_blocks',
            )
        self.start_block = start_block
        self.variant = variant
        self.affinity = affinity
        self.clamp = clamp
        self.affinity_blocks = affinity_blocks

    def look(
        self, model: WSSSClassifier, images: Tensor
    ) -> AbstractContextManager[Trace]:
        """See :meth:`SeedHead.look`; captures only the attention that is read."""
        depth = len(model.backbone.attention_modules())
        start = block_index(self.start_block, depth, 'start_block')
        read = range(start, depth)
        return capture(
            model.backbone,
            images,
            gradients=True,
            attention={*self._spread_blocks(depth), *read},
            heads=read,
            graph_from=start,
        )

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The map of every present class, ``(K, N, h, w)``."""
        depth = len(model.backbone.attention_modules())
        read = trace.attention_from(block_index(self.start_block, depth, 'start_block'))
        scores = model.class_logits(trace.tokens)
        rows = class_rows(model, slots)
        maps = torch.stack(
            [
                self._map(gradients, read, row, trace.num_prefix)
                for gradients, row in zip(
                    trace.backward(scores, slots, read), rows, strict=True
                )
            ]
        )  # (K, N, n)
        if self.affinity:
            affinity = trace.patch_affinity(self._spread_blocks(depth))
            maps = torch.einsum('nij,knj->kni', affinity, maps)
        return patch_grid(maps, trace)

    def _spread_blocks(self, depth: int) -> list[int]:
        """The blocks of the affinity, counted from 0."""
        if not self.affinity:
            return []
        blocks = range(depth) if self.affinity_blocks is None else self.affinity_blocks
        return [block_index(block, depth, 'affinity_blocks') for block in blocks]

    def _map(
        self,
        gradients: Sequence[Tensor],
        attention: Sequence[Tensor],
        tokens: Tensor,
        first: int,
    ) -> Tensor:
        """The sum over the blocks for one class of each image, ``(N, n)``."""
        total = attention[0].new_zeros(())
        for gradient, attn in zip(gradients, attention, strict=True):
            row, looks = (
                rows_of(matrix, tokens[None])[0, ..., first:]
                for matrix in (gradient, attn.detach())
            )  # (N, heads, n) each
            total = total + self._block_map(row, looks)
        return total

    def _block_map(self, gradient: Tensor, attn: Tensor) -> Tensor:
        """One block: ``(N, heads, n)`` both, to ``(N, n)``."""
        positive = self._positive_mean(gradient)
        if self.variant == 'grad':
            return positive
        if self.variant == 'grad_s':
            return positive.square()
        weighted = self._positive_mean(gradient * attn)
        return weighted if self.variant == 'cam_grad' else weighted * positive

    def _positive_mean(self, values: Tensor) -> Tensor:
        """Mean over the heads of ``(N, heads, n)``, without the negative part."""
        if self.clamp == 'after':
            return values.mean(1).clamp(min=0)
        return values.clamp(min=0).mean(1)
