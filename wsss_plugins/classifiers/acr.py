"""The ACR classifier: trained so that the attention of two views of an image agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace, capture, maps_of
from wsss_plugins.classifiers.classifier import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import (
    AttentionConsistencyLoss,
    ImageFormat,
    MapEquivarianceLoss,
    Placement,
    SymmetryView,
    View,
    build_view,
)
from wsss_plugins.registry import MODELS, build_as


@dataclass(frozen=True)
class _Seen:
    """Results of one view: losses, attention ``(L, N, ..., T, T)`` and class maps."""

    losses: dict[str, Tensor]
    attn: Tensor | None
    maps: Tensor | None


@MODELS.register_module()
class ACRClassifier(WSSSClassifier):
    """All-pairs consistency training with a second view of each image.

    The classification losses of the two views are summed, as in the released code. The
    attention of the second view is mapped back to the patches of the image and compared
    there. With both weights of the consistency at 0, both views are classified and no
    attention is computed, so that a backbone without attention can be used.

    Source: Sun et al., All-pairs Consistency Learning for WSSS, 2023, eqs. 1 to 6.

    Args:
        consistency: Config of an :class:`AttentionConsistencyLoss`.
        view: The transform of the second view: a key of
            :data:`wsss_plugins.losses.VIEWS`, the config of a
            :class:`~wsss_plugins.losses.View`, or a list of these, which is applied in
            order. The released code flips horizontally.
        equivariance: Config of a :class:`MapEquivarianceLoss`, which compares the class
            maps of the views as SEAM does; None leaves it out.
        kwargs: Those of :class:`WSSSClassifier`. With ``drop_patches`` the same patches
            of the scene are dropped from both views, which a resized view does not have.

    Raises:
        ConfigError: The view is unknown, the backbone does not have a block of
            ``consistency``, ``L_act`` is on without a class token, or ``drop_patches``
            is set with a resized view.
    """

    def __init__(
        self,
        consistency: dict[str, Any] | AttentionConsistencyLoss | None = None,
        view: str | dict[str, Any] | View | Sequence[Any] = 'hflip',
        equivariance: dict[str, Any] | MapEquivarianceLoss | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        consistency = consistency or dict(type='AttentionConsistencyLoss')
        self.consistency = build_as(MODELS, consistency, AttentionConsistencyLoss)
        self.view = build_view(view)
        self.equivariance = (
            build_as(MODELS, equivariance, MapEquivarianceLoss)
            if equivariance
            else None
        )
        self._refuse_what_cannot_be_compared()
        prepare: Any = self.get_submodule('data_preprocessor')
        self._form = ImageFormat(
            self.backbone.stride, prepare.mean.clone(), prepare.std.clone()
        )

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of a batch ``(N, 3, H, W)`` with labels ``(N, C)``.

        Returns:
            The classification losses, summed over the views, and those of
            ``consistency`` and ``equivariance``.
        """
        self.backbone.grid(images)  # a size that does not fit shows first
        keep = self.sample_patches(images)
        others, placement = self._viewed(images)
        keep_in_view = keep
        if keep is not None and placement is not None:
            keep_in_view = placement.follow(keep)
        one = self._look(images, labels, keep)
        two = self._look(others, labels, keep_in_view)
        # The kept patches are in the same order in both views.
        moved = None if keep is not None else placement
        losses = {name: value + two.losses[name] for name, value in one.losses.items()}
        if one.attn is not None and two.attn is not None:
            attn = moved.attention(two.attn) if moved else two.attn
            prefix, classes = self.backbone.num_prefix, self.backbone.num_class_tokens
            losses |= self.consistency(one.attn, attn, prefix, classes)
        if self.equivariance and one.maps is not None and two.maps is not None:
            maps = moved.maps(two.maps) if moved else two.maps
            losses |= self.equivariance(one.maps, maps, labels)
        return losses

    def _viewed(self, images: Tensor) -> tuple[Tensor, Placement | None]:
        """The view of the images, or of the features that are kept of them.

        Raises:
            ConfigError: The view changes pixels, and features are given.
        """
        if images.shape[1] == 3:
            return self.view(images, self._form)
        if not isinstance(self.view, SymmetryView):
            raise ConfigError(
                'kept features can be mirrored or rotated, and '
                f'{type(self.view).__name__} changes pixels: leave features out of the '
                "stage, or take a view such as 'hflip'",
                token='view',
            )
        net = maps_of(self)
        moved, placement = self.view.of_maps(
            net.unpack(images), self.backbone.grid(images)
        )
        return net.pack(moved), placement

    def _look(self, images: Tensor, labels: Tensor, keep: Tensor | None) -> _Seen:
        """Runs the forward pass of one view."""
        attention: bool | list[int] = self.consistency.needs_attention
        each = self.consistency.heads == 'each'
        if attention and self.consistency.blocks is not None:
            attention = self.consistency.blocks_of(
                len(self.backbone.attention_modules())
            )
        with capture(
            self.backbone, images, keep, attention=attention, heads=each
        ) as trace:
            losses = self.head_losses(trace.tokens, labels)
            maps = self.cam_logits(trace.tokens) if self.equivariance else None
            return _Seen(losses, _stack(trace, each) if attention else None, maps)

    def _refuse_what_cannot_be_compared(self) -> None:
        """Finds mistakes of the config before any training.

        Raises:
            ConfigError: The backbone has no attention or class token that a loss needs,
                or the view cannot be compared with dropped patches.
        """
        if self.consistency.needs_attention:
            name = type(self.backbone).__name__
            blocks = len(self.backbone.attention_modules())
            if not blocks:
                why = self.backbone.without_attention or f'{name} has none'
                raise ConfigError(
                    f'consistency compares attention, and {why}: set both of '
                    'its weights to 0, or take a vision transformer such as TimmViT',
                    token='consistency',
                )
            self.consistency.blocks_of(blocks)
        if self.consistency.activation_weight and not self.backbone.has_class_token:
            raise ConfigError(
                f"L_act compares the class token's attention, and "
                f'{type(self.backbone).__name__} has no class token: set '
                'activation_weight=0 of the consistency',
                token='activation_weight',
            )
        if self.drop_patches and self.view.resamples:
            raise ConfigError(
                f'drop_patches={self.drop_patches} drops the same patches from both '
                'views, and a resized view has others: set drop_patches=0, or leave the '
                'resizing out',
                token='drop_patches',
            )


def _stack(trace: Trace, each_head: bool) -> Tensor:
    """Attention ``(L, N, T, T)``, mean over heads, or ``(L, N, heads, T, T)``."""
    return torch.stack(trace.attn) if each_head else trace.head_mean()
