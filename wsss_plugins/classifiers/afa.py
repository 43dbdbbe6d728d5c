"""AFA: masks from class maps that walk along affinities learnt from attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.affinity import AttentionAffinity, square_window
from wsss_plugins.backbones import Trace, capture, heads_of, raw_attention
from wsss_plugins.classifiers.online_labels import multi_scale_maps
from wsss_plugins.classifiers.refined_labels import Walk, refined_labels, walked_labels
from wsss_plugins.classifiers.single_stage import (
    Batch,
    SingleStageClassifier,
    waiting,
)
from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import AttentionAffinityLoss, equal_pairs
from wsss_plugins.losses.token_contrast import check_form
from wsss_plugins.registry import MODELS
from wsss_plugins.structures import ClassSample

AFA_THRESHOLDS = dict(high=0.55, low=0.35, background=0.45)


@MODELS.register_module()
class AFAClassifier(SingleStageClassifier):
    """A single-stage classifier that learns affinities from the attention of its last blocks.

    After ``seg_after`` steps the class maps of several scales, refined by colours, train the
    decoder, and which of their pixels have one label trains the affinities. After
    ``walk_after`` steps the decoder learns from maps that walked along these affinities.

    Source: Ru et al., "Learning Affinity from Attention: End-to-End Weakly-Supervised
    Semantic Segmentation with Transformers" (AFA), CVPR 2022, and its released code, whose
    backbone is MiT. Here it is any plain vision transformer.

    Args:
        preset: ``'released'``; or ``'paper'``, which has the energy loss with weight 0.01
            and, without what only the code has, no 0.1 in the sums of the walk and neither
            the factors 0.5 nor the 1 in the counts of the affinity loss.
        walk_after: Steps before the decoder learns from walked maps.
        radius: Rows and columns between cells that are pairs, in tokens.
        blocks: Blocks whose attention is read; the first block cannot be.
        affinity_weight: Weight of the loss of the affinities.
        affinity_follows: Whether the affinities learn from what the decoder learns from
            after ``walk_after`` steps too, as on COCO, and not from the labels that only
            colours refined, as on VOC.
        thresholds: See :class:`SingleStageClassifier`.
        energy: Weight of the energy loss; by default that of the preset.
        kwargs: Those of :class:`SingleStageClassifier`.

    Raises:
        ConfigError: The preset or a block is unknown, ``radius`` is negative, or raw
            attention cannot be read from a block.
    """

    def __init__(
        self,
        preset: str = 'released',
        walk_after: int = 6000,
        radius: int = 8,
        blocks: Sequence[int] = (-2, -1),
        affinity_weight: float = 0.1,
        affinity_follows: bool = False,
        thresholds: Mapping[str, float] | None = None,
        energy: float | None = None,
        **kwargs: Any,
    ) -> None:
        check_form(preset)
        if energy is None:
            energy = 0.01 if preset == 'paper' else 0.0
        thresholds = thresholds or AFA_THRESHOLDS
        super().__init__(thresholds=thresholds, energy=energy, **kwargs)
        if radius < 0:
            raise ConfigError(f'radius must be >= 0, not {radius}', token='radius')
        self.walk_after, self.radius, self.blocks = walk_after, radius, tuple(blocks)
        self.affinity_follows = affinity_follows
        self.affinity_head = AttentionAffinity(heads_of(self.backbone, self.blocks))
        self.affinity_loss = AttentionAffinityLoss(affinity_weight, form=preset)
        self.shift = 0.0 if preset == 'paper' else None

    def affinities(self, trace: Trace, many: int | None = None) -> Tensor:
        """Affinities ``(N, P, P)`` in (0, 1) of the patches of the first ``many`` images."""
        hidden = [each[:many] for each in trace.hidden]
        return self.affinity_head(
            raw_attention(self.backbone, hidden, trace.grid, self.blocks)
        )

    def window(self, grid: tuple[int, int], like: Tensor) -> Tensor:
        """Which cells of a grid are pairs, ``(h w, h w)`` bool, on the device of ``like``."""
        return square_window(*grid, self.radius).to(like.device)

    def loss(
        self, images: Tensor, labels: Tensor, samples: Sequence[ClassSample] = ()
    ) -> dict[str, Tensor]:
        """Losses of a batch, see :meth:`SingleStageClassifier.loss`.

        Returns:
            Those of the head, ``loss_seg`` and ``loss_affinity``, and ``loss_energy`` where
            there is one.
        """
        batch, step = self.batch_of(images, labels, samples), self.next_step()
        seen = self.packed(images)
        with capture(self.backbone, seen, attention=False) as trace:
            losses = self.head_losses(trace.tokens, labels)
        if step <= self.seg_after:
            affinity = waiting(self.affinity_head)
            return losses | dict(
                loss_seg=waiting(self.decode_head), loss_affinity=affinity
            )
        refined, target = self.targets(batch, walked=step > self.walk_after)
        maps = self.decoder_maps(seen, trace.tokens)
        losses |= self.decoder_losses(maps, batch, target)
        pairs = self.pairs(target if self.affinity_follows else refined, trace.grid)
        losses['loss_affinity'] = self.affinity_loss(self.affinities(trace), pairs)
        return losses

    def pairs(self, labels: Tensor, grid: tuple[int, int]) -> Tensor:
        """Kinds of the pairs of cells ``(N, P, P)`` of label maps ``(N, h, w)``.

        A cell has the label of its first pixel, at the top on the left.
        """
        cells = F.interpolate(labels[:, None].double(), size=grid, mode='nearest')
        return equal_pairs(cells[:, 0].long(), self.window(grid, labels))

    @torch.no_grad()
    def targets(self, batch: Batch, walked: bool) -> tuple[Tensor, Tensor]:
        """Pseudo labels ``(N, h, w)`` refined by colours, and those for the decoder.

        Args:
            batch: The batch.
            walked: Whether the decoder learns from maps that walked along the affinities
                of the largest scale; else both are the same.
        """
        walks: dict[int, Walk] = {}

        def maps_of(views: Tensor) -> list[Tensor]:
            """Class maps of images and their mirror images, whose affinities are kept."""
            with capture(self.backbone, views, attention=False) as trace:
                cells = trace.grid[0] * trace.grid[1]
                if walked and cells > max(walks, default=0):
                    found = self.affinities(trace, len(views) // 2)
                    window = self.window(trace.grid, found)
                    walks[cells] = Walk(found, trace.grid, window, self.shift)
                return [self.cam_logits(trace.tokens)]

        size = batch.colours.shape[2:]
        way = (self.scales, size, self.backbone.multiple, self.mirrored)
        [maps] = multi_scale_maps(maps_of, batch.images, *way)
        given = (self.averaging, batch.colours, maps, batch.labels, batch.inner)
        refined = refined_labels(*given, self.thresholds)
        if not walked:
            return refined, refined
        along = walks[max(walks)]
        return refined, walked_labels(*given, self.thresholds, along)
