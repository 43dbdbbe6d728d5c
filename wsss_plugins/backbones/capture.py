"""Looking inside a backbone: attention matrices and their gradients. All hooks live here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from wsss_plugins.backbones.base import TokenBackbone, Tokens
from wsss_plugins.blocks import block_index
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.lrp import Composite

DIRECTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    'take': lambda affinity: affinity,
    'give': lambda affinity: affinity.mT,
    'both': lambda affinity: (affinity + affinity.mT) / 2,
}
"""How a map is spread along attention: every patch takes from those that it attends to
(ACR, MCTformer), gives to them, or the mean of the two."""


@dataclass
class Trace:
    """What was captured in one forward pass of a backbone.

    Attributes:
        tokens: The output of the backbone.
        attn: Per captured block, ``(N, heads, T, T)`` attention after softmax (row =
            query), or its mean over heads, ``(N, 1, T, T)``.
        num_prefix: Number of prefix tokens before the patch tokens.
        grid: ``(h, w)`` of the patches.
        images: ``(N, 3, H, W)``, the input.
        hidden: Per block ``(N, T, D)``, its output, where the backbone names its blocks.
        blocks: Which blocks :attr:`attn` is of, in order; by default the first ones.
        depth: How many blocks the backbone has; by default as many as reach the last
            one of :attr:`blocks`.

    Every argument that names a block counts as :func:`~wsss_plugins.blocks.block_index`
    does: -1 is the last block of the backbone, whether its attention was captured or not.
    """

    tokens: Tokens
    attn: list[Tensor]
    num_prefix: int
    grid: tuple[int, int]
    images: Tensor
    hidden: list[Tensor] = field(default_factory=list)
    blocks: Sequence[int] = ()
    depth: int = 0

    def __post_init__(self) -> None:
        """Fills in :attr:`blocks`: by default the attention is of all blocks."""
        self.blocks = tuple(self.blocks) or tuple(range(len(self.attn)))
        self.depth = self.depth or max(self.blocks, default=-1) + 1

    def attention_of(self, blocks: Collection[int]) -> list[Tensor]:
        """Attention of chosen blocks, in their order.

        Raises:
            ConfigError: The backbone has no block of one of the numbers.
            UserError: The attention of one of ``blocks`` was not captured.
        """
        chosen = [block_index(block, self.depth, 'blocks') for block in blocks]
        shown = dict(zip(self.blocks, self.attn, strict=True))
        hidden = [b for b in chosen if b not in shown]
        if hidden:
            raise UserError(
                f'the attention of block {hidden[0]} was not captured, that of blocks '
                f'{list(self.blocks)} was: name it in capture(attention=...)'
            )
        return [shown[b] for b in chosen]

    def attention_from(self, start: int) -> list[Tensor]:
        """Attention of the captured blocks from ``start`` on; -2 means the last two.

        Raises:
            ConfigError: The backbone has no block ``start``.
            UserError: No block from ``start`` on was captured.
        """
        first = block_index(start, self.depth, 'start_block')
        found = [a for b, a in zip(self.blocks, self.attn, strict=True) if b >= first]
        if not found:
            raise UserError(
                f'no attention from block {first} on was captured, that of blocks '
                f'{list(self.blocks)} was: name it in capture(attention=...)'
            )
        return found

    def head_mean(self, start: int = 0) -> Tensor:
        """Attention of the blocks from ``start`` on, mean over heads, ``(L, N, T, T)``.

        Args:
            start: First block; negative counts from the end: -2 gives the last two.

        Raises:
            ConfigError: The backbone has no block ``start``.
            UserError: No block from ``start`` on was captured.
        """
        return torch.stack([a.mean(1) for a in self.attention_from(start)])

    def patch_affinity(
        self, blocks: Collection[int] | None = None, direction: str = 'take'
    ) -> Tensor:
        """Patch-to-patch attention, mean over heads, summed over blocks, ``(N, n, n)``.

        Source: Sun et al., All-pairs Consistency Learning for WSSS, 2023, eq. 8; the sum
        (not the mean) over blocks is that of the released code.

        Args:
            blocks: Indices of the blocks; by default all captured blocks.
            direction: A key of :data:`DIRECTIONS`.

        Returns:
            ``(N, n, n)`` >= 0; a map is multiplied from the right.

        Raises:
            UserError: The attention of a block was not captured.
        """
        first = self.num_prefix
        chosen = self.attention_of(self.blocks if blocks is None else blocks)
        total = chosen[0][..., first:, first:].detach().mean(1)
        for attn in chosen[1:]:
            total += attn[..., first:, first:].detach().mean(1)
        return DIRECTIONS[direction](total)

    def attention_gradients(
        self, scores: Tensor, cotangents: Tensor, start: int = 0
    ) -> list[Tensor]:
        """Gradients of K weighted sums of ``scores`` by the attention of each block.

        The K sums share one forward pass and one batched backward pass, which stops at
        block ``start`` and leaves no ``.grad`` on any weight. :meth:`backward` gives the
        same up to rounding, one sum after the other, in the memory of one.

        Args:
            scores: ``(N, C)`` logits computed from :attr:`tokens`.
            cotangents: ``(K, N, C)`` weights of the sums, one-hot for single classes.
            start: First block to differentiate by.

        Returns:
            Per captured block from ``start`` on, ``(K, N, heads, T, T)``.
        """
        gradients = torch.autograd.grad(
            scores,
            self.attention_from(start),
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
    attention: bool | Collection[int] = True,
    heads: bool | Collection[int] = True,
    graph_from: int | None = None,
) -> Iterator[Trace]:
    """Runs one forward pass with forward hooks that capture the attention matrices.

    The hooks and the unfused attention are undone when the forward pass ends, also
    after an exception; the gradient mode is undone on exit.

    Args:
        backbone: The backbone.
        images: ``(N, 3, H, W)``, normalised.
        keep: Passed to the backbone.
        gradients: Whether gradients can be computed in the ``with`` block; by default
            as outside of it.
        attention: Whether attention is captured, or the indices of the blocks whose
            attention is captured; negative ones count from the end, here and below. The
            other blocks run fused attention. If none is captured, the backbone need not
            have attention.
        heads: Whether every head is kept, or the blocks whose heads are kept. For the
            other blocks only the mean over heads is kept.
        graph_from: First block of the autograd graph; the blocks before it run without
            gradients. By default the whole forward pass is in the graph, and always in
            a backbone that does not name its blocks.

    Yields:
        The trace; without attention its ``attn`` is empty.

    Raises:
        UserError: The backbone has no attention, or the attention of a block could not
            be captured.
        ConfigError: The backbone has no block of one of the numbers.
    """
    shown = _shown_blocks(backbone, attention)
    depth = len(backbone.attention_modules())
    whole = shown if heads is True else _indices(heads or (), depth, 'heads')
    enabled = torch.is_grad_enabled() if gradients is None else gradients
    with torch.set_grad_enabled(enabled):
        with ExitStack() as stack:
            if shown:
                stack.enter_context(_unfused(backbone, shown))
            attn = {
                block: _watch(stack, module, block in whole)
                for block, module in shown.items()
            }
            hidden = [_watch(stack, block) for block in backbone.blocks()]
            if enabled and graph_from is not None:
                _begin_graph(stack, backbone, graph_from)
            tokens = backbone(images, keep)
        if attention:
            seen = sum(map(bool, attn.values()))
            _refuse_hidden_attention(backbone, seen, len(shown), 'explicit_attention')
        matrices, between = ([o for (o,) in seen] for seen in (attn.values(), hidden))
        size = backbone.num_prefix, backbone.grid(images)
        yield Trace(tokens, matrices, *size, images, between, tuple(shown), depth)


def _shown_blocks(
    backbone: TokenBackbone, attention: bool | Collection[int]
) -> dict[int, nn.Module]:
    """The modules that show attention, by block."""
    if not attention:
        return {}
    modules = dict(enumerate(backbone.attention_modules()))
    if attention is True or not modules:
        return modules
    chosen = _indices(attention, len(modules), 'attention')
    return {block: modules[block] for block in sorted(set(chosen))}


def _indices(blocks: Collection[int], depth: int, argument: str) -> list[int]:
    """The numbers of blocks, counted from 0."""
    return [block_index(block, depth, argument) for block in blocks]


def _unfused(
    backbone: TokenBackbone, shown: Collection[int]
) -> AbstractContextManager[None]:
    """Explicit attention in the blocks; a backbone of all of them need not take a list."""
    if len(shown) == len(backbone.attention_modules()):
        return backbone.explicit_attention()
    return backbone.explicit_attention(list(shown))


def _watch(stack: ExitStack, module: nn.Module, whole: bool = True) -> list[Tensor]:
    """A list that will hold the last output of ``module``, or its mean over heads."""
    seen: list[Tensor] = []

    def remember(_: nn.Module, __: object, output: Tensor) -> None:
        """Keeps the module's output; a hook."""
        seen[:] = [output if whole else output.mean(1, keepdim=True)]

    stack.callback(module.register_forward_hook(remember).remove)
    return seen


def _begin_graph(stack: ExitStack, backbone: TokenBackbone, start: int) -> None:
    """No gradients until block ``start``, whose input becomes the leaf of the graph."""
    blocks = backbone.blocks()
    if not blocks:
        return
    first = block_index(start, len(blocks), 'graph_from')
    if not first:
        return  # everything is in the graph

    def begin(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Lets autograd record from the tokens that enter the block on; a hook."""
        torch.set_grad_enabled(True)  # until the stack ends
        tokens, *rest = inputs
        return (tokens.detach().requires_grad_(), *rest)

    stack.enter_context(torch.no_grad())
    stack.callback(blocks[first].register_forward_pre_hook(begin).remove)


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
        start: First block that relevance passes, negative ones counting from the end;
            None lets it reach the images.

    Yields:
        The trace; its ``attn`` begins with block ``start``.

    Raises:
        UserError: The backbone has no module for every operation, the attention of a
            block could not be captured, or relevance cannot be propagated through the
            stem.
        ConfigError: A layer has no rule, or the backbone has no block ``start``.
    """
    depth = len(backbone.attention_modules())
    if start is not None and depth:
        start = block_index(start, depth, 'start_block')
    view = backbone.explicit(start)
    images = images.detach().requires_grad_(start is None)
    with torch.enable_grad():
        with composite(view):
            tokens, attn = view(images)
        shown = tuple(range(start or 0, depth))
        _refuse_hidden_attention(backbone, len(attn), len(shown), 'explicit')
        grid = backbone.grid(images)
        prefix = backbone.num_prefix
        yield Trace(tokens, attn, prefix, grid, images, blocks=shown, depth=depth)


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


def check_direction(direction: str) -> None:
    """Refuses what is no key of :data:`DIRECTIONS`.

    Raises:
        ConfigError: ``direction`` is no key of :data:`DIRECTIONS`.
    """
    if direction not in DIRECTIONS:
        raise ConfigError(
            f'direction must be one of {tuple(DIRECTIONS)}, not {direction!r}',
            token='direction',
        )
