"""The interface of all backbones: tokens, attention and blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mmengine.model import BaseModule
from torch import Tensor, nn

from wsss_plugins.errors import DataError, UserError


@dataclass(frozen=True)
class Tokens:
    """The output of a transformer backbone.

    Attributes:
        prefix: ``(N, P, D)`` class and distillation tokens, the class token first.
        patch: ``(N, D, h, w)`` patch tokens on their grid; ``(N, D, 1, n)`` when only
            ``n`` patches were kept.
        fused: Patch tokens averaged over the outputs of the last blocks, in the shape
            of ``patch``; None unless the backbone computes them (:class:`ExViT`).
        prefix_layers: ``(L, N, P, D)`` the prefix tokens after each block; None unless
            the backbone returns them (:class:`MultiClassTokenViT`).
    """

    prefix: Tensor
    patch: Tensor
    fused: Tensor | None = None
    prefix_layers: Tensor | None = None


class TokenBackbone(BaseModule, ABC):
    """A backbone that turns an image into prefix tokens and a grid of patch tokens.

    Attributes:
        embed_dims: D, the channels of a token.
        stride: Pixels between two neighbouring patch tokens.
        num_prefix: P, the number of prefix tokens before the patch tokens.
        num_class_tokens: Number of class tokens, which are the first prefix tokens; 0
            where there is none, as in a CNN.
        without_attention: Why the attention cannot be read, for the place of X in 'it
            reads attention, and X'; empty where it can be read.
    """

    embed_dims: int
    stride: int
    num_prefix: int
    num_class_tokens: int = 1
    without_attention: str = ''

    @property
    def has_class_token(self) -> bool:
        """Whether the first prefix token is a class token."""
        return bool(self.num_prefix and self.num_class_tokens)

    @abstractmethod
    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """Computes the tokens of a batch.

        Args:
            images: ``(N, 3, H, W)``, normalised; H and W multiples of the stride.
            keep: ``(N, n)`` row-major indices of the patches to compute, in the order
                to compute them in; all of them by default.

        Returns:
            The tokens.

        Raises:
            DataError: H or W is not a multiple of the stride.
        """

    @abstractmethod
    def attention_modules(self) -> list[nn.Module]:
        """One module per block whose output is its attention matrix ``(N, heads, T, T)``.

        The modules compute the matrix only inside :meth:`explicit_attention`.
        """

    @contextmanager
    def explicit_attention(
        self, blocks: Collection[int] | None = None
    ) -> Iterator[None]:
        """Makes the blocks compute their attention matrices until the context ends.

        Args:
            blocks: Indices of the blocks; by default all blocks.

        Yields:
            Nothing.
        """
        yield

    def blocks(self) -> list[nn.Module]:
        """The blocks in order; each one's output is the whole sequence ``(N, T, D)``.

        None by default: only methods that read the tokens between blocks need them.
        """
        return []

    def finish(self, sequence: Tensor, grid: tuple[int, int]) -> Tokens:
        """Computes what :meth:`forward` computes after the last block.

        Args:
            sequence: ``(N, T, D)``, the output of a block.
            grid: ``(h, w)`` of the patches.

        Returns:
            The tokens, after the last norm if there is one.

        Raises:
            UserError: The backbone does not implement this method.
        """
        raise UserError(
            f'{type(self).__name__} does not say how tokens between its blocks become '
            'its output: use a TimmViT, or write its blocks() and finish()'
        )

    def explicit(self, start: int | None = None) -> nn.Module:
        """The network with a module for every operation, for relevance propagation.

        Args:
            start: First block that relevance is propagated through, negative ones
                counting from the end; the blocks before it run without a graph. None
                propagates it to the image.

        Returns:
            A module that shares the weights. It maps images to the :class:`Tokens` and
            the attention ``(N, heads, T, T)`` of each block from ``start`` on. Its
            sub-modules are the layers that relevance is propagated through.

        Raises:
            UserError: The backbone has no version with a module for every operation.
        """
        raise UserError(
            f'{type(self).__name__} does not offer its operations one by one, which '
            'relevance propagation needs: use a TimmViT, or write its explicit()'
        )

    @property
    def multiple(self) -> int:
        """What the sides of images must be multiples of, in pixels: the stride."""
        return self.stride

    def pixels(self, images: Tensor) -> tuple[int, int]:
        """``(H, W)`` of images in pixels, also where features stand for the images."""
        return images.shape[-2], images.shape[-1]

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of the patch grid of ``images``.

        Raises:
            DataError: The size is not a multiple of the stride.
        """
        height, width = self.pixels(images)
        if height % self.stride or width % self.stride:
            raise DataError(
                f'images of {height}x{width} do not fit a grid of stride {self.stride}: '
                f'resize both sides to multiples of {self.stride}'
            )
        return height // self.stride, width // self.stride
