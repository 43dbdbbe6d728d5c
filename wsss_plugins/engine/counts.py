"""Losses of segmentors that divide by a count of pixels: of the batch, not of a part of it.

mmsegmentation's cross entropy with ``avg_non_ignore`` or ``class_weight`` divides by the pixels,
or their weights, that it sees. The mean over workers, or over the pieces of a batch, of such
quotients is another number than the quotient of the whole batch, in which every pixel counts
alike. Here all of them divide by the count of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wsss_plugins.engine.workers import world_size
from wsss_plugins.errors import ConfigError
from wsss_plugins.segmentors.multi_scale import shrink_label

ADDED = torch.finfo(torch.float32).eps
"""What mmsegmentation adds to every divisor."""


def counting_losses(model: nn.Module) -> list[Any]:
    """The cross entropies of mmsegmentation in a model that divide by a count of pixels."""
    from mmseg.models.losses import CrossEntropyLoss  # slow to import

    return [
        part
        for part in model.modules()
        if isinstance(part, CrossEntropyLoss)
        and not (part.use_sigmoid or part.use_mask)
        and part.reduction == 'mean'
        and (part.avg_non_ignore or part.class_weight is not None)
    ]


def count_in_whole_batches(model: nn.Module) -> None:
    """Lets the losses of a model divide by the count of all workers' batches together.

    The mean over the workers is then the loss of all images in one batch.

    Args:
        model: A model that is not wrapped yet; each of its :func:`counting_losses` gets
            another ``forward``.
    """
    for loss in counting_losses(model):
        loss.forward = _Counting(loss)


@contextmanager
def as_piece(
    model: nn.Module, batch: Mapping[str, Any], images: slice
) -> Iterator[None]:
    """Lets losses divide by the count of the batch that a piece is of, times its share.

    The sum over the pieces of their losses, times their shares, is then that of the batch.

    Args:
        model: A model after :func:`count_in_whole_batches`.
        batch: The whole batch; ``data_samples`` have ``gt_sem_seg.data`` ``(1, H, W)``.
        images: Which images of the batch the piece has.

    Yields:
        Nothing.
    """
    counting = [loss.forward for loss in counting_losses(model)]
    if counting:
        labels = torch.cat([sample.gt_sem_seg.data for sample in batch['data_samples']])
        for forward in counting:
            forward.whole, forward.images = labels, images
    try:
        yield
    finally:
        for forward in counting:
            forward.whole = None


class _Counting:
    """``forward`` of a cross entropy that is told what to divide by.

    Args:
        loss: The cross entropy.
    """

    def __init__(self, loss: Any) -> None:
        self.loss, self.plain = loss, loss.forward
        self.whole: Tensor | None = None
        self.images = slice(None)

    def __call__(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: Any = None,
        reduction_override: str | None = None,
        ignore_index: int = -100,
        **kwargs: Any,
    ) -> Tensor:
        """The loss of logits ``(N, C, H, W)`` against labels ``(N, H, W)``."""
        if avg_factor is None and reduction_override in (None, 'mean'):
            whole, share = self._count(label, cls_score, ignore_index)
            if world_size() > 1:
                dist.all_reduce(whole)
            share = share / world_size()
            avg_factor = share * (whole + ADDED) - ADDED
        return self.plain(
            cls_score,
            label,
            weight,
            avg_factor,
            reduction_override,
            ignore_index=ignore_index,
            **kwargs,
        )

    def _count(self, label: Tensor, like: Tensor, ignore: int) -> tuple[Tensor, float]:
        """Pixels that count in the whole batch, or their weights; the share of the piece."""
        share = 1.0
        if self.whole is not None:
            share = len(label) / len(self.whole)
            label = self._whole_of(label, self.whole)
        seen = label[label != ignore]
        if self.loss.class_weight is None:
            return like.new_tensor(seen.numel()), share
        return like.new_tensor(self.loss.class_weight)[seen.long()].sum(), share

    def _whole_of(self, label: Tensor, whole: Tensor) -> Tensor:
        """The labels of the whole batch, as the loss is given those of a piece.

        Raises:
            ConfigError: The segmentor has changed the labels in a way that is not known.
        """
        if whole.shape[1:] != label.shape[1:]:
            whole = shrink_label(whole, (label.shape[1], label.shape[2]))
        if not torch.equal(whole[self.images].to(label), label):
            raise ConfigError(
                'speed.accumulate counts the pixels of a batch in its label maps, and the '
                'segmentor computes its loss on other ones: leave accumulate out',
                token='accumulate',
            )
        return whole
