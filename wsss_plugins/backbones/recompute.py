"""Activation checkpointing: forget what a layer computed, compute it anew on the way back.

It holds inside a ``capture``: attention that was shown stays part of the graph, and the
repetition fuses attention only where the first pass did.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_and_forget(block: Any, tokens: Tensor, **kwargs: Any) -> Tensor:
    """The output of a transformer block, of which only the input is kept.

    Args:
        block: A block of timm, its attention as ``attn``.
        tokens: ``(N, T, D)``.
        kwargs: For the block.

    Returns:
        ``(N, T, D)``. Random numbers are the same in both passes.
    """
    now = partial(_as_now, block.attn)
    return checkpoint(block, tokens, use_reentrant=False, context_fn=now, **kwargs)


def run_stem_and_forget(stem: nn.Module, images: Tensor) -> Tensor:
    """The output of a stem, of which only the images are kept.

    Only what has a CNN is worth it. Batch norm would count the batch twice: a CNN that
    has it runs as ever.

    Args:
        stem: A patch embedding of timm.
        images: ``(N, 3, H, W)``.

    Returns:
        What the stem returns.
    """
    twice = any(isinstance(m, _BatchNorm) for m in stem.modules())
    if twice or not hasattr(stem, 'backbone'):
        return stem(images)
    return checkpoint(stem, images, use_reentrant=False)


def _as_now(
    layer: Any,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Contexts of the first pass and of its repetition."""
    return nullcontext(), _fusing(layer, layer.fused_attn)


@contextmanager
def _fusing(layer: Any, fused: bool) -> Iterator[None]:
    was = layer.fused_attn
    layer.fused_attn = fused
    try:
        yield
    finally:
        layer.fused_attn = was
