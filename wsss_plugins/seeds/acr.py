"""The gradient-based class localisation map of ACR."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import PerClassHead, block_index, patch_grid

VARIANTS = ('grad', 'grad_s', 'cam_grad', 'cam_grad_s')


@SEED_HEADS.register_module()
class ACRGradientMap(PerClassHead):
    """Positive gradients of a class logit by the class-to-patch attention.

    Negative gradients are removed per head before the mean over heads, and the blocks
    from ``start_block`` on are summed. Optionally the map is spread along the
    patch-to-patch attention, summed over all blocks.

    Source: Sun et al., All-pairs Consistency Learning for WSSS, 2023, eqs. 7 and 8, and
    the variants of its released code (``getam``). See docs/methods.md for what the two
    do differently.

    Args:
        start_block: First block that is read; negative counts from the end. The released
            scripts read the last two.
        variant: With G the gradient and A the attention: ``'grad'`` mean of G+ (the
            paper); ``'grad_s'`` its square; ``'cam_grad'`` mean of (G A)+;
            ``'cam_grad_s'`` mean of (G A)+ times mean of G+.
        affinity: Whether to spread the map along the patch affinity.
        kwargs: See :class:`PerClassHead`.

    Raises:
        ConfigError: Unknown variant.
    """

    needs_class_token = True

    def __init__(
        self,
        start_block: int = -2,
        variant: str = 'grad',
        affinity: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if variant not in VARIANTS:
            raise ConfigError(
                f'variant must be one of {VARIANTS}, not {variant!r}', variant
            )
        self.start_block = start_block
        self.variant = variant
        self.affinity = affinity

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The map of every present class, ``(K, N, h, w)``."""
        start = block_index(self.start_block, len(trace.attn))
        scores = model.class_logits(trace.tokens)
        gradients = trace.attention_gradients(scores, slots, start=start)
        first = trace.num_prefix
        maps = torch.stack(
            [
                self._block_map(gradient[..., 0, first:], attn[:, :, 0, first:])
                for gradient, attn in zip(gradients, trace.attn[start:], strict=True)
            ]
        ).sum(0)  # (K, N, n)
        if self.affinity:
            maps = torch.einsum('nij,knj->kni', trace.patch_affinity(), maps)
        return patch_grid(maps, trace)

    def _block_map(self, gradient: Tensor, attn: Tensor) -> Tensor:
        """One block: ``(K, N, heads, n)`` and ``(N, heads, n)`` to ``(K, N, n)``."""
        positive = gradient.clamp(min=0).mean(2)
        if self.variant == 'grad':
            return positive
        if self.variant == 'grad_s':
            return positive.square()
        weighted = (gradient * attn).clamp(min=0).mean(2)
        return weighted if self.variant == 'cam_grad' else weighted * positive
