"""Class logits of MCTformer and TS-CAM: class tokens, and a convolution on patches."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wsss_plugins.backbones import TokenBackbone, Tokens
from wsss_plugins.classifiers.head import TokenHead, pool_top
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.losses import ClassContrastLoss
from wsss_plugins.registry import MODELS, build_as

POOLS = ('mean', 'rank', 'top')


def pool_rank(maps: Tensor, decay: float = 0.996) -> Tensor:
    """Mean of the values of each map, the k-th largest weighted by ``decay ** k``.

    Source: global weighted ranking pooling of Kolesnikov & Lampert, Seed, Expand and
    Constrain, 2016; 0.996 is that of the released code of MCTformer+.

    Args:
        maps: ``(N, C, h, w)``.
        decay: In (0, 1]; 1 is global average pooling, near 0 global max pooling.

    Returns:
        ``(N, C)``.
    """
    ranked = maps.flatten(2).sort(-1, descending=True).values
    places = torch.arange(ranked.shape[-1], dtype=ranked.dtype, device=ranked.device)
    weights = decay**places
    return (ranked * weights).sum(-1) / weights.sum()


@MODELS.register_module()
class ConvHead(TokenHead):
    """Patch logits from a convolution over the grid of patch tokens.

    The defaults are the classifier of TS-CAM: a 3x3 convolution, averaged over the
    image.

    Source: Gao et al., TS-CAM: Token Semantic Coupled Attention Map for Weakly Supervised
    Object Localization, 2021, and its released code.

    Args:
        num_classes: C, foreground classes.
        embed_dims: D, channels of a token.
        sources: See :class:`TokenHead`; ``'class'`` is a linear layer on the class token.
        kernel_size: Size of the convolution kernel, odd; the map keeps its size.
        pool: How patch logits are pooled to logits of the image: ``'mean'``, ``'rank'``
            (:func:`pool_rank`) or ``'top'`` (:func:`pool_top`).
        decay: See :func:`pool_rank`.
        pool_fraction: See :func:`pool_top`.

    Raises:
        ConfigError: A source or ``pool`` is unknown, ``kernel_size`` is even, or ``decay``
            is not in (0, 1].
    """

    class_alone: ClassVar[bool] = False  # whether it may read class tokens alone

    def __init__(
        self,
        num_classes: int,
        embed_dims: int,
        sources: tuple[str, ...] = ('patch',),
        kernel_size: int = 3,
        pool: str = 'mean',
        decay: float = 0.996,
        pool_fraction: float = 0.2,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        reads_patches = 'patch' in sources
        if not reads_patches and not self.class_alone:
            raise ConfigError(
                f"{type(self).__name__} convolves patch tokens: add 'patch' to its "
                'sources, or take TokenHead',
                token='sources',
            )
        super().__init__(
            num_classes,
            embed_dims,
            sources,
            shared=True,  # the convolution stands for the second layer
            pool_fraction=pool_fraction,
            init_cfg=init_cfg,
        )
        if pool not in POOLS or kernel_size % 2 != 1 or not 0 < decay <= 1:
            raise ConfigError(
                f'{type(self).__name__} needs pool of {POOLS}, an odd kernel_size and '
                f"decay in (0, 1], not '{pool}', {kernel_size} and {decay}",
                token='pool' if pool not in POOLS else 'kernel_size',
            )
        self.pool = pool
        self.decay = decay
        self.conv = (
            nn.Conv2d(embed_dims, num_classes, kernel_size, padding=kernel_size // 2)
            if reads_patches
            else None
        )
        if not self.reads_class_token:
            del self.fc  # nothing reads it, and distributed training would wait for it

    def check_backbone(self, backbone: TokenBackbone, drop_patches: float = 0) -> None:
        """See :meth:`TokenHead.check_backbone`; a convolution needs the whole grid."""
        super().check_backbone(backbone, drop_patches)
        self._check_grid(drop_patches)

    def _check_grid(self, drop_patches: float) -> None:
        if drop_patches and self.conv is not None and self.conv.kernel_size != (1, 1):
            raise ConfigError(
                f'{type(self).__name__} convolves neighbouring patches, which '
                'drop_patches would tear apart: set drop_patches=0',
                token='drop_patches',
            )

    def patch_logits(self, tokens: Tokens) -> Tensor:
        """Logits of every patch token, ``(N, C, h, w)``.

        Raises:
            UserError: The head has no source ``'patch'``.
        """
        if self.conv is None:
            raise UserError(
                f"{type(self).__name__} with sources=('class',) says nothing of single "
                "patches: take MCTformerMap with fuse='mct', or train with "
                "sources=('class', 'patch')"
            )
        return self.conv(tokens.patch)

    def pooled_logits(self, tokens: Tokens) -> Tensor:
        """Patch logits pooled over the image, ``(N, C)``."""
        maps = self.patch_logits(tokens)
        if self.pool == 'rank':
            return pool_rank(maps, self.decay)
        return pool_top(maps, self.pool_fraction if self.pool == 'top' else 1)


@MODELS.register_module()
class MCTHead(ConvHead):
    """The logit of a class is the mean over the channels of its own token.

    =============  ==========================  ==========================================
    MCTformer      ``sources``                 also
    =============  ==========================  ==========================================
    V1             ``('class',)``
    V2             ``('class', 'patch')``
    plus           ``('class', 'patch')``      ``pool='rank'``, ``contrast=dict(type=
                                               'ClassContrastLoss')``
    =============  ==========================  ==========================================

    Source: Xu et al., Multi-class Token Transformer for Weakly Supervised Semantic
    Segmentation, 2022, and Xu et al., MCTformer+, 2023, with the released codes.

    Args:
        num_classes: C, foreground classes; as many as the backbone has class tokens.
        embed_dims: D, channels of a token.
        sources: ``('class',)`` or ``('class', 'patch')``.
        contrast: Config of a :class:`ClassContrastLoss` on the class tokens after every
            block; none by default.
        kwargs: See :class:`ConvHead`.

    Raises:
        ConfigError: ``sources`` does not have ``'class'``, or an argument of
            :class:`ConvHead` is wrong.
    """

    class_alone = True

    def __init__(
        self,
        num_classes: int,
        embed_dims: int,
        sources: tuple[str, ...] = ('class', 'patch'),
        contrast: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, embed_dims, sources, **kwargs)
        if not self.reads_class_token:
            raise ConfigError(
                "MCTHead classifies by class tokens: add 'class' to its sources, or take "
                'ConvHead',
                token='sources',
            )
        del self.fc  # the mean over channels takes its place
        self.contrast = (
            None if contrast is None else build_as(MODELS, contrast, ClassContrastLoss)
        )

    def check_backbone(self, backbone: TokenBackbone, drop_patches: float = 0) -> None:
        """Refuses a backbone without one class token per class, or with a last norm.

        Raises:
            ConfigError: The backbone has another number of class tokens than the head
                has classes, patches are dropped, or the backbone ends with a LayerNorm,
                after which the mean over the channels of every token is the same.
        """
        if backbone.num_class_tokens != self.num_classes:
            raise ConfigError(
                f'MCTHead reads a token for each of {self.num_classes} classes, and '
                f'{type(backbone).__name__} has {backbone.num_class_tokens}: take '
                f'MultiClassTokenViT with num_classes={self.num_classes}',
                token='num_classes',
            )
        if getattr(backbone, 'final_norm', False):
            raise ConfigError(
                'MCTHead takes the mean over the channels of a token, which is the same for '
                "all tokens after a LayerNorm: set the backbone's final_norm=False",
                token='final_norm',
            )
        self._check_grid(drop_patches)

    def class_logits(self, tokens: Tokens) -> Tensor:
        """Logits of the class tokens, ``(N, C)``."""
        return tokens.prefix[:, : self.num_classes].mean(-1)

    def extra_losses(self, tokens: Tokens, labels: Tensor) -> dict[str, Tensor]:
        """``loss_contrast``, where the head has one.

        Raises:
            UserError: The backbone does not return its class tokens after each block.
        """
        if self.contrast is None:
            return {}
        if tokens.prefix_layers is None:
            raise UserError(
                'the contrast of class tokens reads them after every block, and the '
                'backbone shows the last ones alone: take MultiClassTokenViT'
            )
        classes = tokens.prefix_layers[:, :, : self.num_classes]
        return {'loss_contrast': self.contrast(classes, labels)}
