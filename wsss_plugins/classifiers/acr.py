"""The ACR classifier: two views of every image, whose attention should agree."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from wsss_plugins.backbones import capture
from wsss_plugins.classifiers.classifier import WSSSClassifier
from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.losses import (
    VIEWS,
    AttentionConsistencyLoss,
    restore_order,
    view_permutation,
)
from wsss_plugins.registry import MODELS, build_as


@MODELS.register_module()
class ACRClassifier(WSSSClassifier):
    """All-pairs consistency training with one view transform.

    The classification losses of the two are summed, as in the released code; the
    attention of the view is re-ordered to the image's patches and compared in every
    block.

    Source: Sun et al., All-pairs Consistency Learning for WSSS, 2023, eqs. 1 to 6.

    Args:
        consistency: Config of an :class:`AttentionConsistencyLoss`.
        view: The transform that makes the second view, a key of
            :data:`wsss_plugins.losses.VIEWS`. The released code flips horizontally.
        kwargs: Those of :class:`WSSSClassifier`. With ``drop_patches`` the same patches
            of the scene are dropped from both views.

    Raises:
        ConfigError: Unknown view.
    """

    def __init__(
        self,
        consistency: dict[str, Any] | None = None,
        view: str = 'hflip',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if view not in VIEWS:
            raise ConfigError(f"unknown view '{view}': {near_names(view, VIEWS)}", view)
        consistency = consistency or dict(type='AttentionConsistencyLoss')
        self.consistency = build_as(MODELS, consistency, AttentionConsistencyLoss)
        self.view = view

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of a batch ``(N, 3, H, W)`` with labels ``(N, C)``."""
        order = view_permutation(self.view, self.backbone.grid(images)).to(
            images.device
        )
        keep = self.sample_patches(images)
        keep_in_view = None if keep is None else order.argsort()[keep]
        attn, losses = self._view_losses(images, labels, keep)
        other, more = self._view_losses(VIEWS[self.view](images), labels, keep_in_view)
        if keep is None:
            other = restore_order(other, order)
        losses = {name: value + more[name] for name, value in losses.items()}
        return losses | self.consistency(attn, other, self.backbone.num_prefix)

    def _view_losses(
        self, images: Tensor, labels: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Head-averaged attention ``(L, N, T, T)`` and losses of one view."""
        with capture(self.backbone, images, keep) as trace:
            return trace.head_mean(), self.head_losses(trace.tokens, labels)
