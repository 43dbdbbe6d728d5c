"""Captures attention matrices and their gradients; all forward hooks are set here."""

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
"""How attention propagates a map between patches. 'take': every patch receives from the
patches that it attends to (ACR, MCTformer); 'give': every patch passes its value to the
patches that it attends to; 'both': the mean of the two."""


@dataclass
class Trace:
    """Tokens and attention that were captured in one forward pass of a backbone.

    Attributes:
        tokens: The output of the backbone.
        attn: For each captured block the attention after softmax, ``(N, heads, T, T)``
            (row = query), or its mean over heads, ``(N, 1, T, T)``.
        num_prefix: Number of prefix tokens before the patch tokens.
        grid: ``(h, w)``, rows and columns of the patches.
        images: ``(N, 3, H, W)``, the input.
        hidden: Output ``(N, T, D)`` of each block; empty if the backbone's ``blocks()``
            lists none.
        blocks: Indices of the blocks whose attention :attr:`attn` holds, in order. By
            default 0, 1, 2, ...
        depth: Number of blocks of the backbone. By default the last index in
            :attr:`blocks` plus 1.

    Every argument that names a block follows :func:`~wsss_plugins.blocks.block_index`: -1
    is the last block of the backbone, even if its attention was not captured.
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
        """Fills in the defaults of :attr:`blocks` and :attr:`depth`."""
        self.blocks = tuple(self.blocks) or tuple(range(len(self.attn)))
        self.depth = self.depth or max(self.blocks, default=-1) + 1

    def attention_of(self, blocks: Collection[int]) -> list[Tensor]:
        """Attention of the given blocks, in the order given.

        Raises:
            ConfigError: An index in ``blocks`` is outside of the backbone's blocks.
            UserError: The attention of one of ``blocks`` was not captured.
        """
        chosen = [block_index(block, self.depth, 'blocks') for block in blocks]
        captured = dict(zip(self.blocks, self.attn, strict=True))
        hidden = [b for b in chosen if b not in captured]
        if hidden:
            raise UserError(
                f'the attention of block {hidden[0]} was not captured, that of blocks '
                f'{list(self.blocks)} was: name it in capture(attention=...)'
            )
        return [captured[b] for b in chosen]

    def attention_from(self, start: int) -> list[Tensor]:
        """Attention of the captured blocks with index ``start`` or higher.

        Args:
            start: First block; negative ones count from the end: -2 gives the last two.

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
        """Mean over heads of the attention of L blocks, ``(L, N, T, T)``.

        Args:
            start: First of these blocks; the others are the captured blocks after it.
                Negative ones count from the end: -2 gives the last two.

        Raises:
            ConfigError: The backbone has no block ``start``.
            UserError: No block from ``start`` on was captured.
        """
        return torch.stack([a.mean(1) for a in self.attention_from(start)])

    def patch_affinity(
        self, blocks: Collection[int] | None = None, direction: str = 'take'
    ) -> Tensor:
        """Patch-to-patch attention, the mean over heads and the sum over blocks.

        Source: Sun et al., All-pairs Consistency Learning for WSSS, 2023, eq. 8; the sum
        (not the mean) over blocks is that of the released code.

        Args:
            blocks: Indices of the blocks; by default all captured blocks.
            direction: A key of :data:`DIRECTIONS`.

        Returns:
            ``(N, n, n)`` >= 0; the product with a map ``(N, n, 1)`` propagates it.

        Raises:
            UserError: The attention of one of ``blocks`` was not captured.
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
            cotangents: ``(K, N, C)``, weights of the sums; one-hot rows give the
                gradients of single classes.
            start: First block by whose attention to differentiate.

        Returns:
            ``(K, N, heads, T, T)`` for each captured block with index ``start`` or higher.
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
        """Runs K backward passes, each from a weighted sum of ``scores``.

        The K passes share one forward pass. Each stops at the tensors in ``of`` and
        leaves no ``.grad`` on any weight.

        Args:
            scores: ``(N, C)`` logits computed from :attr:`tokens`.
            cotangents: ``(K, N, C)``, weights of the sums; one-hot rows give the
                gradients of single classes.
            of: Tensors of the forward pass to differentiate by, from :attr:`attn` or
                :attr:`images`.

        Yields:
            For each sum, the gradient by each tensor in ``of``. In a trace of
            :func:`capture_relevance` it is the relevance of each tensor.
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

    When the forward pass ends, also after an exception, the hooks are removed and fused
    attention is switched on again. The gradient mode is restored when the context ends.
    Negative indices of blocks count from the end.

    Args:
        backbone: The backbone.
        images: ``(N, 3, H, W)``, normalised.
        keep: Indices ``(N, n)`` of the patches to compute; all by default.
        gradients: Whether gradients can be computed in the block; by default as outside.
        attention: True to capture the attention of all blocks, False for none, or the
            indices of the blocks. The other blocks run fused attention.
        heads: True to keep every head of the captured attention, False to keep the mean
            over heads, or the indices of the blocks whose heads are kept.
        graph_from: First block of the autograd graph; earlier blocks run without
            gradients. By default, and in a backbone whose ``blocks()`` lists none, the
            graph covers the whole forward pass.

    Yields:
        The trace; its ``attn`` is empty if no attention is captured.

    Raises:
        UserError: The backbone has no attention, or that of a block was not captured.
        ConfigError: The backbone has no block of an index in ``attention``, ``heads`` or
            ``graph_from``.
    """
    captured = _captured_blocks(backbone, attention)
    depth = len(backbone.attention_modules())
    whole = captured if heads is True else _indices(heads or (), depth, 'heads')
    enabled = torch.is_grad_enabled() if gradients is None else gradients
    with torch.set_grad_enabled(enabled):
        with ExitStack() as stack:
            if captured:
                stack.enter_context(_unfused(backbone, captured))
            attn = {
                block: _watch(stack, module, block in whole)
                for block, module in captured.items()
            }
            hidden = [_watch(stack, block) for block in backbone.blocks()]
            if enabled and graph_from is not None:
                _begin_graph(stack, backbone, graph_from)
            tokens = backbone(images, keep)
        if attention:
            seen = sum(map(bool, attn.values()))
            _refuse_hidden_attention(
                backbone, seen, len(captured), 'explicit_attention'
            )
        matrices, between = ([o for (o,) in seen] for seen in (attn.values(), hidden))
        size = backbone.num_prefix, backbone.grid(images)
        yield Trace(tokens, matrices, *size, images, between, tuple(captured), depth)


def _captured_blocks(
    backbone: TokenBackbone, attention: bool | Collection[int]
) -> dict[int, nn.Module]:
    """The attention modules of the blocks to capture, by index of the block."""
    if not attention:
        return {}
    modules = dict(enumerate(backbone.attention_modules()))
    if attention is True or not modules:
        return modules
    chosen = _indices(attention, len(modules), 'attention')
    return {block: modules[block] for block in sorted(set(chosen))}


def _indices(blocks: Collection[int], depth: int, argument: str) -> list[int]:
    """Indices of blocks, counted from 0; negative ones have been resolved."""
    return [block_index(block, depth, argument) for block in blocks]


def _unfused(
    backbone: TokenBackbone, captured: Collection[int]
) -> AbstractContextManager[None]:
    """Switches fused attention off in the given blocks.

    If these are all blocks, no list is passed: a backbone need not accept one.
    """
    if len(captured) == len(backbone.attention_modules()):
        return backbone.explicit_attention()
    return backbone.explicit_attention(list(captured))


def _watch(stack: ExitStack, module: nn.Module, whole: bool = True) -> list[Tensor]:
    """Hooks ``module``: the returned list holds its last output, or the mean over heads."""
    seen: list[Tensor] = []

    def remember(_: nn.Module, __: object, output: Tensor) -> None:
        """Forward hook that keeps the output of the module."""
        seen[:] = [output if whole else output.mean(1, keepdim=True)]

    stack.callback(module.register_forward_hook(remember).remove)
    return seen


def _begin_graph(stack: ExitStack, backbone: TokenBackbone, start: int) -> None:
    """Disables gradients before block ``start``; its input becomes a leaf of the graph."""
    blocks = backbone.blocks()
    if not blocks:
        return
    first = block_index(start, len(blocks), 'graph_from')
    if not first:
        return  # everything is in the graph

    def begin(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Forward pre-hook that starts the autograd graph at the tokens it is given."""
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
    """Runs ``backbone`` so that its backward pass propagates relevance, not gradients.

    The rules apply to this one forward pass and are removed before the ``with`` block
    begins. Code that computes scores from the tokens needs its own
    ``with composite(head)``.

    Args:
        backbone: The backbone; it must implement :meth:`TokenBackbone.explicit`.
        images: ``(N, 3, H, W)``, normalised.
        composite: The rule of each layer.
        start: First block through which relevance is propagated, negative ones counting
            from the end; None propagates it to the images.

    Yields:
        The trace; the first matrix of its ``attn`` is that of block ``start``.

    Raises:
        UserError: The backbone does not have a module for every operation, the attention
            of a block could not be captured, or relevance cannot be propagated through
            the stem.
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
        captured = tuple(range(start or 0, depth))
        _refuse_hidden_attention(backbone, len(attn), len(captured), 'explicit')
        grid = backbone.grid(images)
        prefix = backbone.num_prefix
        yield Trace(tokens, attn, prefix, grid, images, blocks=captured, depth=depth)


def _refuse_hidden_attention(
    backbone: TokenBackbone, seen: int, blocks: int, method: str
) -> None:
    name = type(backbone).__name__
    if not blocks:
        why = backbone.without_attention
        raise UserError(
            f'the attention of {name} cannot be captured, {why}: take a method that reads '
            'none, such as CAM or InputXGradient'
            if why
            else f'{name} has no attention: take a vision transformer, such as TimmViT'
        )
    if seen != blocks:
        raise UserError(
            f'the attention of {seen} of {blocks} blocks of {name} was captured: the other '
            f'blocks run fused attention; make {method}() switch it off'
        )


def check_direction(direction: str) -> None:
    """Refuses a direction that is not in :data:`DIRECTIONS`.

    Raises:
        ConfigError: ``direction`` is no key of :data:`DIRECTIONS`.
    """
    if direction not in DIRECTIONS:
        raise ConfigError(
            f'direction must be one of {tuple(DIRECTIONS)}, not {direction!r}',
            token='direction',
        )
