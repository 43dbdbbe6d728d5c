"""ToCo: masks from class maps whose tokens are kept apart by two contrasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.backbones import Tokens, Trace, capture
from wsss_plugins.blocks import block_index
from wsss_plugins.classifiers.ex_vit import ViewsPreprocessor
from wsss_plugins.classifiers.head import TokenHead
from wsss_plugins.classifiers.momentum import MomentumBranch
from wsss_plugins.classifiers.online_labels import (
    boxes_on,
    interest,
    labels_of_maps,
    local_crops,
    multi_scale_maps,
    resized_maps,
)
from wsss_plugins.classifiers.projection_head import ProjectionHead
from wsss_plugins.classifiers.refined_labels import refined_labels
from wsss_plugins.classifiers.single_stage import (
    Batch,
    SingleStageClassifier,
    waiting,
)
from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import ClassContrastOfCropsLoss, PatchContrastLoss
from wsss_plugins.losses.token_contrast import check_form
from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.structures import ClassSample

TOCO_THRESHOLDS = dict(high=0.7, low=0.25, background=0.5)


@MODELS.register_module()
class ToCoClassifier(SingleStageClassifier):
    """A single-stage classifier with contrasts of patch tokens and of class tokens.

    A second head classifies the patch tokens of an earlier block. Its class maps say which
    of the last patch tokens are to be alike, and where crops are taken whose class tokens
    follow that of the whole image. After ``seg_after`` steps the class maps of the last
    tokens, refined by colours, train the decoder.

    A training image has one view, or two
    (:class:`~wsss_plugins.datasets.TwoViews`): crops are then taken from the second, as in
    the released code, and where the first one shows an object. The other whole view of an
    image with one view is its mirror image.

    Source: Ru et al., "Token Contrast for Weakly-Supervised Semantic Segmentation" (ToCo),
    CVPR 2023, and its released code.

    Args:
        preset: ``'released'``; or ``'paper'``, which has the losses without what only the
            code has (see :class:`PatchContrastLoss` and
            :class:`ClassContrastOfCropsLoss`), and boxes of the grid of tokens for the
            labels on it, where the code takes those of the pixels.
        aux_block: The block whose patch tokens the second head reads, before the last
            norm unless it is the last block.
        crops: Number of crops of each image.
        crop_size: Side of a crop, in pixels.
        contrast_after: Steps before the contrasts begin. Until then the decoder learns
            from the maps of the second head. -1 begins with the first step.
        momentum: Momentum of the head that embeds the whole views.
        contrast_head: Arguments of the :class:`ProjectionHead`.
        patch_weight: Weight of the contrast of patch tokens.
        class_weight: Weight of the contrast of class tokens.
        temperature: Of the contrast of class tokens; 0.5 on VOC, 1.0 on COCO.
        thresholds: See :class:`SingleStageClassifier`.
        energy: See :class:`SingleStageClassifier`.
        kwargs: Those of :class:`SingleStageClassifier`.

    Raises:
        ConfigError: The preset or ``aux_block`` is unknown, the backbone has no class
            token, or a number is out of range.
    """

    def __init__(
        self,
        preset: str = 'released',
        aux_block: int = -3,
        crops: int = 8,
        crop_size: int = 96,
        contrast_after: int = -1,
        momentum: float = 0.9,
        contrast_head: Mapping[str, Any] | None = None,
        patch_weight: float = 0.2,
        class_weight: float = 0.5,
        temperature: float = 0.5,
        thresholds: Mapping[str, float] | None = None,
        energy: float = 0.05,
        **kwargs: Any,
    ) -> None:
        thresholds = thresholds or TOCO_THRESHOLDS
        head = kwargs.get('head')
        super().__init__(thresholds=thresholds, energy=energy, **kwargs)
        if crops < 1 or crop_size < 2 or not 0 <= momentum < 1:
            raise ConfigError(
                'ToCoClassifier needs crops >= 1, crop_size >= 2 and a momentum in [0, 1), '
                f'not {crops}, {crop_size} and {momentum}',
                token='crops',
            )
        if not self.backbone.has_class_token:
            raise ConfigError(
                f'ToCoClassifier contrasts class tokens, and {type(self.backbone).__name__} '
                'has none: take a vision transformer with one, such as TimmViT',
                token='backbone',
            )
        self.preset = check_form(preset)
        dims, depth = self.backbone.embed_dims, len(self.backbone.blocks())
        self.aux_block = block_index(aux_block, depth, 'aux_block')
        if not isinstance(head, Mapping):
            raise ConfigError(
                'ToCoClassifier builds its head twice: give a config of it',
                token='head',
            )
        self.aux_head = build_as(MODELS, {'embed_dims': dims, **head}, TokenHead)
        self.crops, self.crop_size, self.momentum = crops, crop_size, momentum
        self.contrast_after = contrast_after
        self.contrast_head = ProjectionHead(dims, **(contrast_head or {}))
        self.teacher = MomentumBranch(head=self.contrast_head)
        self.patch_loss = PatchContrastLoss(patch_weight, form=preset)
        self.class_loss = ClassContrastOfCropsLoss(
            temperature, class_weight, form=preset
        )
        prepare: Any = self.get_submodule('data_preprocessor')
        mean, std = (x.flatten().tolist() for x in (prepare.mean, prepare.std))
        self.data_preprocessor = ViewsPreprocessor(mean, std)

    def init_weights(self) -> None:
        """Initialises as mmengine does; both heads of the contrast then have equal weights."""
        super().init_weights()
        self.teacher.follow(0.0, head=self.contrast_head)

    def loss(
        self, images: Tensor, labels: Tensor, samples: Sequence[ClassSample] = ()
    ) -> dict[str, Tensor]:
        """Losses of a batch, see :meth:`SingleStageClassifier.loss`.

        Args:
            images: ``(N, 3, H, W)``, normalised, or packed features; ``(N, 2, 3, H, W)``
                for two views of each image.
            labels: ``(N, C)``.
            samples: What else is known of the first views.

        Returns:
            Those of the head, those of the second head, which end in ``_auxiliary``,
            ``loss_patches``, ``loss_crops`` and ``loss_seg``, and
            ``loss_energy`` where there is one.
        """
        views = (
            images.unbind(1) if images.ndim == 5 else (images, self.mirrored(images))
        )
        batch, step = self.batch_of(views[0], labels, samples), self.next_step()
        contrast, decode = step > self.contrast_after, step > self.seg_after
        seen = self.packed(views[0])
        with capture(self.backbone, seen, attention=False) as trace:
            tokens, auxiliary = trace.tokens, self.auxiliary(trace)
        losses = self.head_losses(tokens, labels)
        for source, logits in self.aux_head(auxiliary).items():
            loss = self.classification_loss(logits, labels)
            losses[f'loss_{source}_auxiliary'] = loss
        if not contrast:
            losses['loss_crops'] = waiting(self.contrast_head)
        if not decode:
            losses['loss_seg'] = waiting(self.decode_head)
        if not (contrast or decode):
            return losses
        maps, aux_maps = self.class_maps(batch)
        if contrast:
            losses |= self._contrasts(tokens, aux_maps, batch, views[1])
        if decode:
            given = (self.averaging, batch.colours, maps if contrast else aux_maps)
            target = refined_labels(*given, labels, batch.inner, self.thresholds)
            seen_maps = self.decoder_maps(seen, tokens)
            losses |= self.decoder_losses(seen_maps, batch, target)
        return losses

    def auxiliary(self, trace: Trace) -> Tokens:
        """Tokens of :attr:`aux_block`; those of the last block have passed the norm."""
        if self.aux_block == trace.depth - 1:
            return trace.tokens
        prefix, patch = trace.hidden[self.aux_block].tensor_split(
            (trace.num_prefix,), 1
        )
        return Tokens(prefix, patch.transpose(1, 2).unflatten(2, trace.grid))

    @torch.no_grad()
    def class_maps(self, batch: Batch) -> list[Tensor]:
        """Class maps of both heads ``(N, C, h, w)`` in [0, 1] on the grid of the colours."""

        def maps_of(views: Tensor) -> list[Tensor]:
            """Maps of one scale."""
            with capture(self.backbone, views, attention=False) as trace:
                last, earlier = trace.tokens, self.auxiliary(trace)
                return [self.cam_logits(last), self.aux_head.patch_logits(earlier)]

        size = batch.colours.shape[2:]
        way = (self.scales, size, self.backbone.multiple, self.mirrored)
        return multi_scale_maps(maps_of, batch.images, *way)

    def patch_labels(self, maps: Tensor, batch: Batch, grid: tuple[int, int]) -> Tensor:
        """Labels ``(N, h, w)`` of the patch tokens, of maps of the second head."""
        boxes = batch.boxes
        if self.preset == 'paper':
            boxes = boxes_on(boxes, batch.size, grid)
        small = resized_maps(maps, grid)
        return labels_of_maps(small, batch.labels, self.thresholds, boxes)

    def _contrasts(
        self, tokens: Tokens, maps: Tensor, batch: Batch, second: Tensor
    ) -> dict[str, Tensor]:
        """Both contrasts.

        Args:
            tokens: Of the first views.
            maps: Of the second head.
            batch: The batch.
            second: The second views, from which crops are taken.
        """
        rows, columns = tokens.patch.shape[-2:]
        wanted = self.patch_labels(maps, batch, (rows, columns))
        crops, flags = self.local_crops(maps, batch, second)
        whole = torch.cat([tokens.prefix[:, 0], self._class_tokens(second)])
        parts = self._class_tokens(crops.flatten(0, 1))
        self.teacher.follow(self.momentum, head=self.contrast_head)
        teacher: Any = self.teacher.head
        with torch.no_grad():
            views = teacher(whole)
        student = self.contrast_head(torch.cat([whole, parts]))
        return dict(
            loss_patches=self.patch_loss(tokens.patch, wanted),
            loss_crops=self.class_loss(student, views, flags),
        )

    def local_crops(
        self, maps: Tensor, batch: Batch, second: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Crops of the second views and what they show.

        See :func:`~wsss_plugins.classifiers.online_labels.local_crops`. Features are
        cropped by whole cells.
        """
        cell = batch.size[0] // second.shape[-2]  # 1 for pixels
        size = self.crop_size // cell
        if not 0 < size < min(second.shape[-2:]):
            raise ConfigError(
                f'crop_size={self.crop_size} must be at least {cell} and less than the '
                f'sides of the images, {batch.size}',
                token='crop_size',
            )
        on_view = resized_maps(maps, second.shape[-2:])
        region = interest(on_view, batch.labels, self.thresholds)
        return local_crops(second, region, size, self.crops, draws=batch.draws)

    def _class_tokens(self, images: Tensor) -> Tensor:
        return self.backbone(images).prefix[:, 0]
