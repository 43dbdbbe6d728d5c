"""Looking inside a backbone: attention matrices and their gradients. All hooks live here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from wsss_plugins.backbones.base import TokenBackbone, Tokens
from wsss_plugins.errors import UserError
from wsss_plugins.lrp import Composite


@dataclass
class Trace:
    """What one forward pass of a backbone showed.

    Attributes:
        tokens: The output of the backbone.
        attn: Per block, ``(N, heads, T, T)`` attention after softmax (row = query).
        num_prefix: How many of the T tokens stand before the patches.
        grid: ``(h, w)`` of the patches.
        images: ``(N, 3, H, W)``, the input.
        hidden: Per block ``(N, T, D)``, its output, where the backbone names its blocks.
    """

    tokens: Tokens
    attn: list[Tensor]
    num_prefix: int
    grid: tuple[int, int]
    images: Tensor
    hidden: list[Tensor] = field(default_factory=list)

    def head_mean(self, start: int = 0) -> Tensor:
        """Attention of the blocks from ``start`` on, mean over heads, ``(L, N, T, T)``."""
        return torch.stack([a.mean(1) for a in self.attn[start:]])

    def patch_affinity(self) -> Tensor:
        """Patch-to-patch attention, mean over heads, summed over all blocks, ``(N, n, n)``.

        Source: Sun et al., All-pairs Consistency Learning for WSSS, 2023, eq. 8; the sum
        (not the mean) over blocks is that of the released code.
        """
        first = self.num_prefix
        return self.head_mean()[..., first:, first:].sum(0).detach()

    def attention_gradients(
        self, scores: Tensor, cotangents: Tensor, start: int = 0
    ) -> list[Tensor]:
        """Gradients of K weighted sums of ``scores`` by the attention of each block.

        All K share one forward pass; the backward pass stops at block ``start`` and
        leaves no ``.grad`` on any weight.

        Args:
            scores: ``(N, C)`` logits computed from :attr:`tokens`.
            cotangents: ``(K, N, C)`` weights of the sums, one-hot for single classes.
            start: First block to differentiate by.

        Returns:
            Per block from ``start`` on, ``(K, N, heads, T, T)``.
        """
        gradients = torch.autograd.grad(
            scores,
            self.attn[start:],
            grad_outputs=cotangents.to(scores.dtype),
            is_grads_batched=True,
            retain_graph=True,
        )
        return list(gradients)

    def backward(
        self, scores: Tensor, cotangents: Tensor, of: Sequence[Tensor]
    ) -> Iterator[tuple[Tensor, ...]]:
        """Goes back from K weighted sums of ``scores``, one after the other.

        All K share one forward pass; the backward pass stops at the tensors asked for
        and leaves no ``.grad`` on any weight.

        Args:
            scores: ``(N, C)`` logits computed from :attr:`tokens`.
            cotangents: ``(K, N, C)`` weights of the sums, one-hot for single classes.
            of: Tensors of the forward pass, of :attr:`attn` or :attr:`images`.

        Yields:
            For each sum the gradient by each tensor; after
            :func:`capture_relevance` their relevance.
        """
        for cotangent in cotangents.to(scores.dtype):
            yield torch.autograd.grad(scores, of, cotangent, retain_graph=True)


@contextmanager
def capture(
    backbone: TokenBackbone,
    images: Tensor,
    keep: Tensor | None = None,
    gradients: bool | None = None,
    attention: bool = True,
) -> Iterator[Trace]:
    """Runs ``backbone`` on ``images`` and shows its attention matrices.

    The hooks and the unfused attention are undone when the forward pass ends, also
    after an exception; the gradient mode is undone on exit.

    Args:
        backbone: The backbone.
        images: ``(N, 3, H, W)``, normalised.
        keep: Passed to the backbone.
        gradients: Whether the block may differentiate; by default as it is outside.
        attention: Whether attention is shown. Without, the blocks run fused, and a
            backbone that has none will do.

    Yields:
        The trace; without attention its ``attn`` is empty.

    Raises:
        UserError: The backbone has no attention, or a block did not show it.
    """
    modules = backbone.attention_modules() if attention else []
    seen: dict[nn.Module, Tensor] = {}

    def remember(module: nn.Module, _: object, output: Tensor) -> None:
        seen[module] = output

    enabled = torch.is_grad_enabled() if gradients is None else gradients
    with torch.set_grad_enabled(enabled):
        with ExitStack() as stack:
            if attention:
                stack.enter_context(backbone.explicit_attention())
            for module in (*modules, *backbone.blocks()):
                stack.callback(module.register_forward_hook(remember).remove)
            tokens = backbone(images, keep)
        attn = [seen[module] for module in modules if module in seen]
        if attention:
            _refuse_hidden_attention(
                backbone, len(attn), len(modules), 'explicit_attention'
            )
        grid = backbone.grid(images)
        hidden = [seen[block] for block in backbone.blocks()]
        yield Trace(tokens, attn, backbone.num_prefix, grid, images, hidden)


@contextmanager
def capture_relevance(
    backbone: TokenBackbone,
    images: Tensor,
    composite: Composite,
    start: int | None = None,
) -> Iterator[Trace]:
    """Runs ``backbone`` so that going back carries relevance instead of gradients.

    The rules hold for this one forward pass: what computes scores from the tokens needs
    its own ``with composite(head)``. They are undone before the block begins.

    Args:
        backbone: The backbone; it must be :meth:`TokenBackbone.explicit`.
        images: ``(N, 3, H, W)``, normalised.
        composite: The rule of each layer.
        start: First block that relevance passes; None lets it reach the images.

    Yields:
        The trace; its ``attn`` begins with block ``start``.

    Raises:
        UserError: The backbone does not spell its operations out, a block did not show
            its attention, or relevance cannot reach the image through the stem.
        ConfigError: A layer without rule.
    """
    view = backbone.explicit(start)
    images = images.detach().requires_grad_(start is None)
    with torch.enable_grad():
        with composite(view):
            tokens, attn = view(images)
        blocks = len(backbone.attention_modules()) - (start or 0)
        _refuse_hidden_attention(backbone, len(attn), blocks, 'explicit')
        yield Trace(tokens, attn, backbone.num_prefix, backbone.grid(images), images)


def _refuse_hidden_attention(
    backbone: TokenBackbone, seen: int, blocks: int, method: str
) -> None:
    name = type(backbone).__name__
    if not blocks:
        raise UserError(
            f'{name} has no attention: take a vision transformer, such as TimmViT'
        )
    if seen != blocks:
        raise UserError(
            f'{name} showed the attention of {seen} of {blocks} blocks: a block runs '
            f'fused attention; make {method}() switch it off'
        )
