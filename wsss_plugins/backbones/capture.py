"""Looking inside a backbone: attention matrices and their gradients. All hooks live here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wsss_plugins.backbones.base import TokenBackbone, Tokens
from wsss_plugins.errors import UserError


@dataclass
class Trace:
    """What one forward pass of a backbone showed.

    Attributes:
        tokens: The output of the backbone.
        attn: Per block, ``(N, heads, T, T)`` attention after softmax (row = query).
        num_prefix: How many of the T tokens stand before the patches.
        grid: ``(h, w)`` of the patches.
    """

    tokens: Tokens
    attn: list[Tensor]
    num_prefix: int
    grid: tuple[int, int]

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


@contextmanager
def capture(
    backbone: TokenBackbone,
    images: Tensor,
    keep: Tensor | None = None,
    gradients: bool | None = None,
) -> Iterator[Trace]:
    """Runs ``backbone`` on ``images`` and shows its attention matrices.

    The hooks and the unfused attention are undone when the forward pass ends, also
    after an exception; the gradient mode is undone on exit.

    Args:
        backbone: The backbone.
        images: ``(N, 3, H, W)``, normalised.
        keep: Passed to the backbone.
        gradients: Whether the block may differentiate; by default as it is outside.

    Yields:
        The trace.

    Raises:
        UserError: A block did not show its attention.
    """
    modules = backbone.attention_modules()
    seen: dict[nn.Module, Tensor] = {}

    def remember(module: nn.Module, _: object, output: Tensor) -> None:
        seen[module] = output

    enabled = torch.is_grad_enabled() if gradients is None else gradients
    with torch.set_grad_enabled(enabled):
        with ExitStack() as stack:
            stack.enter_context(backbone.explicit_attention())
            for module in modules:
                stack.callback(module.register_forward_hook(remember).remove)
            tokens = backbone(images, keep)
        if len(seen) != len(modules) or not modules:
            raise UserError(
                f'{type(backbone).__name__} showed the attention of {len(seen)} of '
                f'{len(modules)} blocks: a block runs fused attention; make '
                'explicit_attention() switch it off'
            )
        grid = backbone.grid(images)
        yield Trace(tokens, [seen[m] for m in modules], backbone.num_prefix, grid)
