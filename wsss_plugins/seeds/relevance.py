"""The base class of the seed heads that propagate relevance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

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

    Attributes:
        poolings: Values of :attr:`TokenHead.pooling` through which the maps follow
            relevance where the logits do not come from a class token. Empty by default:
            such a model is refused.

    Args:
        rules: The composite, or its name in ``lrp.COMPOSITES``.
        start_block: First block that relevance is propagated through; negative counts
            from the end. None propagates it to the image.
        kwargs: See :class:`PerClassHead`.

    Raises:
        ConfigError: No published composite has the name ``rules``.
    """

    needs_class_token = True
    poolings: ClassVar[tuple[str, ...]] = ()

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
        return self.read(model, trace)[0]

    def read(self, model: WSSSClassifier, trace: Trace) -> tuple[Tensor, list[Tensor]]:
        """Class logits, and the attention by which the head pools the tokens.

        Returns:
            ``(N, C)``, from which relevance can be propagated, and a list with the
            attention ``(N, heads, 1, T)`` of a latent query; empty if the head has none.
        """
        form = model.head.explicit()
        with self.rules(form):
            return form(trace.tokens)

    def _class_token_mismatch(self, model: WSSSClassifier) -> tuple[str, str] | None:
        """Accepts a model whose pooling the maps follow."""
        if model.head.pooling and model.head.pooling in self.poolings:
            return None
        return super()._class_token_mismatch(model)


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


def spread_class_token(
    blocks: Iterable[Tensor], like: Tensor, pooling: Tensor | None = None
) -> Tensor:
    """The class token's row of ``(I + A_L) ... (I + A_1)``, without the full product.

    The query of an attention pooling is the class token of one more block ``A_P``, which
    it alone takes part in: its row is ``A_P (I + A_L) ... (I + A_1)``.

    Args:
        blocks: ``(N, T, T)`` of each block, the *last* block first.
        like: A tensor ``(N, ..., T)``, for size and type.
        pooling: ``(N, 1, T)``, the row of ``A_P``; None without attention pooling.

    Returns:
        ``(N, T)``.
    """
    if pooling is not None:
        row = pooling
    else:
        row = like.new_zeros(len(like), 1, like.shape[-1])
        row[..., 0] = 1
    for block in blocks:
        row = row + row @ block
    return row[:, 0]
