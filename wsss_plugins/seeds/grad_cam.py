"""GradCAM on feature maps, and on the attention of the last block."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace, capture
from wsss_plugins.blocks import block_index
from wsss_plugins.classifiers import AttributeHead, WSSSClassifier
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import (
    PerClassHead,
    class_rows,
    patch_grid,
    rows_of,
)


@SEED_HEADS.register_module()
class GradCAM(PerClassHead):
    """Channels of a feature map, weighted by the mean gradient of the class's logit.

    The feature map of a CNN is the last one, that of a transformer the patch tokens
    after a block. Where the logits are a linear layer on the mean of the last feature
    map, GradCAM equals CAM without the bias, divided by the number of positions.

    Source: Selvaraju et al., Grad-CAM, 2017, eqs. 1 and 2.

    Args:
        block: The transformer block whose output is the feature map; negative counts from
            the end. By default the last output whose patch tokens influence the logits:
            the last block where the head reads patch tokens, else the last block but
            one, since the class token reads the patch tokens in the last block.
        kwargs: See :class:`PerClassHead`.
    """

    needs_attention = False
    needs_class_token = False

    def __init__(self, block: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block = block

    def check_model(self, model: WSSSClassifier) -> None:
        """Refuses a head that also reads other tokens than the last patch tokens.

        Raises:
            UserError: The model has an :class:`AttributeHead`, and ``block`` is None.
        """
        super().check_model(model)
        if self.block is None and isinstance(model.head, AttributeHead):
            raise ConfigError(
                'GradCAM reads the last patch tokens, and an AttributeHead reads the mean '
                'over several blocks too: give block=-1, or take AttributeCAM',
                token='block',
            )

    def look(
        self, model: WSSSClassifier, images: Tensor
    ) -> AbstractContextManager[Trace]:
        """The forward pass, without a graph where the gradient ends at its output."""
        between = self.block is not None or model.head.reads_class_token
        return capture(model.backbone, images, gradients=between, attention=False)

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The weighted sum of the channels for each class, ``(K, N, h, w)``."""
        if self.block is not None or model.head.reads_class_token:
            features = self._between(model, trace)  # (N, T, D)
            tokens, first = trace.tokens, trace.num_prefix
        else:
            leaf = trace.tokens.patch.detach().requires_grad_()
            tokens, first = replace(trace.tokens, patch=leaf), 0
            features = leaf
        with torch.enable_grad():
            scores = model.class_logits(tokens)
            gradients = [g for (g,) in trace.backward(scores, slots, [features])]
        if features.ndim == 4:
            return torch.stack([_weighted(features, g) for g in gradients])
        patch = features[:, first:].transpose(1, 2)
        return torch.stack(
            [
                patch_grid(_weighted(patch, g[:, first:].transpose(1, 2)), trace)
                for g in gradients
            ]
        )

    def _between(self, model: WSSSClassifier, trace: Trace) -> Tensor:
        """The output ``(N, T, D)`` of the block that is read."""
        depth, name = len(trace.hidden), type(model.backbone).__name__
        if not depth:
            raise UserError(
                f'{name} does not show the tokens between its blocks, which GradCAM reads '
                'here: leave block out and classify by patches, or take AttentionGradCAM'
            )
        last = depth - 2 if model.head.reads_class_token else depth - 1
        block = block_index(last if self.block is None else self.block, depth)
        if block > last or last < 0:
            raise ConfigError(
                f'the class token of {name} reads no patch after block {depth - 1}, so '
                f'that its logits have no gradient there: give block {depth - 2} or an '
                'earlier one',
                token='block',
            )
        return trace.hidden[block]


def _weighted(features: Tensor, gradient: Tensor) -> Tensor:
    """Channels ``(N, D, ...)`` weighted by their mean gradient, summed."""
    weights = gradient.flatten(2).mean(-1)  # (N, D)
    return torch.einsum('nd...,nd->n...', features.detach(), weights)


@SEED_HEADS.register_module()
class AttentionGradCAM(PerClassHead):
    """Class-to-patch attention of the heads, weighted by their mean gradient.

    The mean over heads is taken before negative values are removed. A map is zero where
    the weighted mean over the heads is negative.

    Source: Selvaraju et al., Grad-CAM, 2017, eqs. 1 and 2, on attention as the baseline of
    Chefer et al., Transformer Interpretability Beyond Attention Visualization, 2021.
    """

    needs_class_token = True
    follows_class_tokens = True

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The weighted attention of the last block, ``(K, N, h, w)``."""
        last = len(trace.attn) - 1
        scores = model.class_logits(trace.tokens)
        (gradient,) = trace.attention_gradients(scores, slots, start=last)
        rows, first = class_rows(model, slots), trace.num_prefix
        weight = rows_of(gradient, rows)[..., first:].mean(-1, keepdim=True)
        attn = rows_of(trace.attn[last], rows)[..., first:]  # (K, N, heads, n)
        return patch_grid((attn * weight).mean(2), trace)
