"""The base class of the seed heads that propagate relevance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace, capture_relevance
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.lrp import AttentionValue, Composite, composite
from wsss_plugins.seeds.base import PerClassHead


class RelevanceHead(PerClassHead):
    """A seed head whose backward pass propagates relevance instead of gradients.

    Relevance starts as 1 at the logit of the class.

    Args:
        rules: The composite, or its name in ``lrp.COMPOSITES``.
        start_block: First block that relevance is propagated through; negative counts
            from the end. None propagates it to the image.
        kwargs: See :class:`PerClassHead`.

    Raises:
        ConfigError: No published composite has the name ``rules``.
    """

    needs_class_token = True

    def __init__(
        self,
        rules: str | Composite,
        start_block: int | None = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rules = composite(rules)
        self.start_block = start_block

    @contextmanager
    def look(self, model: WSSSClassifier, images: Tensor) -> Iterator[Trace]:
        """The forward pass with the rules of the composite."""
        with capture_relevance(
            model.backbone, images, self.rules, self.start_block
        ) as trace:
            yield trace

    def scores(self, model: WSSSClassifier, trace: Trace) -> Tensor:
        """Class logits ``(N, C)``, from which relevance can be propagated."""
        with self.rules(model.head):
            return model.class_logits(trace.tokens)


def check_reaches_attention(rules: Composite, head: str) -> None:
    """Refuses rules that hold attention constant, for a head that reads its relevance.

    Args:
        rules: The composite.
        head: Name of the seed head, for the message.

    Raises:
        ConfigError: By ``rules`` the attention matrix gets no relevance.
    """
    product = AttentionValue()
    rule = rules.rule_of(product)
    attn, value = torch.full((2, 1, 2, 2), 0.5), torch.ones(2, 1, 2, 1)
    shares = rule(product, attn, value)(value) if rule else (attn,)
    if shares[0] is None:
        raise ConfigError(
            f'{head} reads the relevance of the attention, and these rules hold the '
            "attention constant: take rules='chefer' or 'attnlrp', or CPLRP, whose map is "
            'of the pixels',
            token='rules',
        )


def spread_class_token(blocks: Iterable[Tensor], like: Tensor) -> Tensor:
    """The class token's row of ``(I + A_L) ... (I + A_1)``, without the full product.

    Args:
        blocks: ``(N, T, T)`` of each block, the *last* block first.
        like: A tensor ``(N, ..., T)``, for size and type.

    Returns:
        ``(N, T)``.
    """
    row = like.new_zeros(len(like), 1, like.shape[-1])
    row[..., 0] = 1
    for block in blocks:
        row = row + row @ block
    return row[:, 0]
