"""Transformer attribution, and the rollout of relevance alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.lrp import Composite
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import patch_grid
from wsss_plugins.seeds.relevance import (
    RelevanceHead,
    check_reaches_attention,
    spread_class_token,
)


@SEED_HEADS.register_module()
class LRPRollout(RelevanceHead):
    """Rollout of the positive relevance of the attention, without gradients.

    ``(I + A_L) ... (I + A_s)`` with ``A`` the mean over heads of the positive relevance;
    the rows are not normalised. The query of an attention pooling stands for the class
    token, and the pooling is one more block, after the others.

    Source: Chefer et al., Transformer Interpretability Beyond Attention Visualization,
    2021, the 'rollout' of its code.

    Args:
        start_block: s, the first block of the product.
        rules: See :class:`RelevanceHead`.
        kwargs: See :class:`PerClassHead`.

    Raises:
        ConfigError: By ``rules`` the attention gets no relevance.
    """

    poolings: ClassVar[tuple[str, ...]] = ('attention',)

    def __init__(
        self, start_block: int = 0, rules: str | Composite = 'chefer', **kwargs: Any
    ) -> None:
        super().__init__(rules, start_block, **kwargs)
        check_reaches_attention(self.rules, type(self).__name__)

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The relevance that reaches the class token, ``(K, N, h, w)``."""
        scores, pooling = self.read(model, trace)
        rows = []
        for relevance in trace.backward(scores, slots, [*trace.attn, *pooling]):
            blocks = (r.clamp(min=0).mean(1) for r in reversed(relevance))
            rows.append(self._row(blocks, trace, pooling))
        return patch_grid(torch.stack(rows)[..., trace.num_prefix :], trace)

    @staticmethod
    def _row(
        blocks: Iterator[Tensor], trace: Trace, pooling: Sequence[Tensor]
    ) -> Tensor:
        """The row ``(N, T)`` of the query that the class is read from; last block first."""
        first = next(blocks) if pooling else None
        return spread_class_token(blocks, trace.attn[0], first)


@SEED_HEADS.register_module()
class TransformerAttribution(LRPRollout):
    """Rollout of the positive part of gradient times relevance of the attention.

    ``(I + A_L) ... (I + A_s)`` with ``A`` the mean over heads of ``(G R)+``, G the
    gradient of the class's logit by the attention and R its relevance.

    Source: Chefer et al., Transformer Interpretability Beyond Attention Visualization,
    2021, eqs. 13 and 14.

    Args:
        start_block: s, the first block of the product; 0 in the paper, 1 in its
            segmentation and perturbation scripts.
        rules: See :class:`RelevanceHead`.
        kwargs: See :class:`PerClassHead`.
    """

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The attribution of every patch for each class, ``(K, N, h, w)``."""
        scores, pooling = self.read(model, trace)
        rows = []
        with capture(model.backbone, trace.images, gradients=True) as plain:
            logits, plain_pooling = model.head.explicit()(plain.tokens)
            attn = [*plain.attn[-len(trace.attn) :], *plain_pooling]
            both = zip(
                trace.backward(scores, slots, [*trace.attn, *pooling]),
                plain.backward(logits, slots, attn),
                strict=True,
            )
            for relevance, gradient in both:
                pairs = zip(reversed(relevance), reversed(gradient), strict=True)
                blocks = ((r * g).clamp_(min=0).mean(1) for r, g in pairs)
                rows.append(self._row(blocks, trace, pooling))
        return patch_grid(torch.stack(rows)[..., trace.num_prefix :], trace)
