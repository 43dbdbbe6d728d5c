"""Activation checkpointing of any part of a network, such as the blocks of a CNN."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def forget_inside(part: nn.Module) -> None:
    """Makes a part of a network store only its inputs in training.

    Its other activations are recomputed in the backward pass, with the same random
    numbers. Running statistics of batch norms are updated once. The names of the weights
    stay as they are.

    Args:
        part: A module that does not change its inputs in place.
    """
    forward = part.forward

    def forgetting(*args: Any, **kwargs: Any) -> Any:
        """The forward pass; with checkpointing in training with gradients."""
        if not (part.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        once = partial(_statistics_once, part)
        return checkpoint(
            forward, *args, use_reentrant=False, context_fn=once, **kwargs
        )

    setattr(part, 'forward', forgetting)  # noqa: B010 (mypy: a method)


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The blocks of a convolutional network, which :func:`forget_inside` can be given.

    A block has layers of its own and is an item of a ``Sequential``, as the residual
    blocks of the ResNets and EfficientNets of timm and mmsegmentation are, or says
    ``is_block = True``. Blocks inside of blocks are left out.
    """
    found: list[nn.Module] = []
    for part in network.children():
        listed = isinstance(network, nn.Sequential | nn.ModuleList)
        many = len([*part.parameters(recurse=True)]) > len([*part.parameters(False)])
        chain = isinstance(part, nn.Sequential | nn.ModuleList)
        if getattr(part, 'is_block', False) or (listed and many and not chain):
            found.append(part)
        else:
            found += blocks_of(part)
    return found


def _statistics_once(
    part: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the first forward pass and of the recomputation."""
    return nullcontext(), _without_statistics(part)


@contextmanager
def _without_statistics(part: nn.Module) -> Iterator[None]:
    """Batch norms normalise as in training and keep their running statistics."""
    norms = [m for m in part.modules() if isinstance(m, _BatchNorm) and m.training]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count
