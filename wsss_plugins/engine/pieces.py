"""A training step on a batch in pieces: the gradients of the whole, the memory of a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mmengine.model import BaseModel, is_model_wrapper
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsss_plugins.engine.counts import as_piece
from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import (
    AffinityLoss,
    AttentionAffinityLoss,
    BalancedCrossEntropyLoss,
    DisplacementLoss,
    PatchContrastLoss,
)

COUPLING = (AffinityLoss, AttentionAffinityLoss, DisplacementLoss, PatchContrastLoss)
"""Losses whose means run over the pairs of the whole batch."""


def train_step_in_pieces(
    model: nn.Module, count: int, data: Any, optim_wrapper: OptimWrapper
) -> dict[str, Tensor]:
    """One step of training, as mmengine's ``train_step``, on a batch in pieces.

    The loss of a piece counts by its share of the images, and the weights change once, so
    that the step is that of the whole batch where the loss is a mean over its images. It is
    so for the last batch of an epoch too, which may be smaller. mmengine's
    ``accumulative_counts`` joins whole batches across epochs instead: schedules that count
    iterations then change their meaning, and a training that is resumed loses what was
    added up.

    Args:
        model: A model of mmengine, perhaps wrapped for distributed training.
        count: Number of pieces, at least 1; a batch of fewer images has as many pieces as
            images.
        data: A batch of the data loader.
        optim_wrapper: The optimiser.

    Returns:
        The losses of the batch, by name.

    Raises:
        ConfigError: The batch cannot be divided.
    """
    bare: Any = model.module if is_model_wrapper(model) else model
    whole = bare.data_preprocessor(data, True)
    logs: dict[str, Any] = {}
    for piece in pieces_of(whole, count):
        alone = nullcontext if piece.last else getattr(model, 'no_sync', nullcontext)
        with alone():
            with (
                as_piece(bare, whole, piece.images),
                optim_wrapper.optim_context(model),
            ):
                losses = model(**piece.data, mode='loss')
            loss, log = bare.parse_losses(losses)
            optim_wrapper.backward(loss * piece.share)
        for name, value in log.items():
            logs[name] = logs.get(name, 0) + value.detach() * piece.share
    optim_wrapper.step()
    optim_wrapper.zero_grad()
    return logs


@dataclass(frozen=True)
class Piece:
    """A part of a batch.

    Attributes:
        data: Arguments of the model.
        images: Which images of the batch these are.
        share: Their number over that of the batch.
        last: Whether no other piece follows.
    """

    data: dict[str, Any]
    images: slice
    share: float
    last: bool


def pieces_of(batch: Any, count: int) -> Iterator[Piece]:
    """Yields the pieces of a batch in order.

    Args:
        batch: What a data preprocessor returns: a dict of tensors and lists with an entry
            for each image, or None in their place.
        count: Number of pieces; their sizes differ by 1 at most.

    Raises:
        ConfigError: The batch is no dict, or its values are not of as many images.
    """
    values = (
        [v for v in batch.values() if v is not None]
        if isinstance(batch, Mapping)
        else []
    )
    lengths = {len(value) for value in values}
    if len(lengths) != 1:
        raise ConfigError(
            'speed.accumulate divides batches that are dicts with an entry for each '
            f'image, and this one is a {type(batch).__name__} with entries of '
            f'{sorted(lengths)} images: leave accumulate out',
            token='accumulate',
        )
    (total,) = lengths
    count = min(count, total)
    for begin, end in pairwise(total * number // count for number in range(count + 1)):
        part = {k: v if v is None else v[begin:end] for k, v in batch.items()}
        yield Piece(part, slice(begin, end), (end - begin) / total, end == total)


def refuse_pieces(model: nn.Module) -> None:
    """Refuses models whose loss on a batch is no mean of losses on its images.

    Args:
        model: A model of mmengine. A loss of one's own says ``couples_images = True`` if it
            divides by what it counts in the whole batch.

    Raises:
        ConfigError: The model has batch norms that are trained, such a loss, or a
            ``train_step`` of its own.
    """
    why = _why_not(model)
    if why:
        raise ConfigError(
            f'speed.accumulate computes a batch in pieces, and {why}, or leave accumulate '
            'out',
            token='accumulate',
        )


def _why_not(model: nn.Module) -> str:
    """What excludes pieces, and what to do; empty if nothing does."""
    name = type(model).__name__
    if (
        isinstance(model, BaseModel)
        and type(model).train_step is not BaseModel.train_step
    ):
        return f'{name} has a train_step of its own: train another model'
    norms = _trained_norms(model)
    if norms:
        return (
            f'{len(norms)} batch norms ({norms[0]}, ...) would take the statistics of each '
            'piece: take fixed statistics (norm_eval=True) or group norm'
        )
    for part in model.modules():
        if _couples_images(part):
            return (
                f'{type(part).__name__} divides by what it counts in the whole batch: take '
                'a loss that is a mean over images'
            )
    return ''


def _trained_norms(model: nn.Module) -> list[str]:
    """Names of batch norms that normalise by their batch in training."""
    modes = {part: part.training for part in model.modules()}
    model.train()
    norms = [
        name
        for name, part in model.named_modules()
        if isinstance(part, _BatchNorm) and part.training
    ]
    for part, training in modes.items():
        part.training = training
    return norms


def _couples_images(part: nn.Module) -> bool:
    """Whether a loss divides by what it counts in the whole batch."""
    return (
        isinstance(part, COUPLING)
        or (isinstance(part, BalancedCrossEntropyLoss) and part.over == 'batch')
        or bool(getattr(part, 'couples_images', False))
    )
