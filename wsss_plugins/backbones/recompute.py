"""Activation checkpointing: activations are recomputed in the backward pass.

Checkpointing works inside a ``capture``: captured attention stays part of the graph,
and the recomputation uses fused attention only where the first forward pass did.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from wsss_plugins.backbones.timm_kinds import attention_of


def run_and_forget(block: Any, tokens: Tensor, **kwargs: Any) -> Tensor:
    """Runs a transformer block and stores only its input for the backward pass.

    Args:
        block: A block of timm.
        tokens: ``(N, T, D)``.
        kwargs: Arguments of the block.

    Returns:
        ``(N, T, D)``. Random numbers are the same in both passes.
    """
    now = partial(_as_now, attention_of(block))
    return checkpoint(block, tokens, use_reentrant=False, context_fn=now, **kwargs)


def run_stem_and_forget(stem: nn.Module, images: Tensor) -> Tensor:
    """The output of a stem; only the images are stored for the backward pass.

    Only stems with a CNN are checkpointed. A CNN with batch norm is not checkpointed,
    since the recomputation would update its running statistics twice.

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
    """Contexts of the first forward pass and of the recomputation."""
    if layer is None:  # its attention is never captured
        return nullcontext(), nullcontext()
    return nullcontext(), _fusing(layer, layer.fused_attn)


@contextmanager
def _fusing(layer: Any, fused: bool) -> Iterator[None]:
    was = layer.fused_attn
    layer.fused_attn = fused
    try:
        yield
    finally:
        layer.fused_attn = was
