"""Affinities from the attention of a transformer, and the walk along them.

Source: Ru et al., "Learning Affinity from Attention: End-to-End Weakly-Supervised Semantic
Segmentation with Transformers" (AFA), CVPR 2022, sections 3.2 and 3.3, and its code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS


def square_window(height: int, width: int, radius: int) -> Tensor:
    """Which pairs of cells are at most ``radius`` rows and columns apart.

    Args:
        height: h.
        width: w.
        radius: In cells, >= 0.

    Returns:
        ``(h w, h w)`` bool; a cell is a pair with itself.
    """
    rows = (torch.arange(height)[:, None] - torch.arange(height)).abs() <= radius
    columns = (torch.arange(width)[:, None] - torch.arange(width)).abs() <= radius
    return torch.kron(rows.to(torch.uint8), columns.to(torch.uint8)).bool()


@MODELS.register_module()
class AttentionAffinity(BaseModule):
    """Affinities ``sigmoid(w . (A + A^T) + b)`` of the raw attention of the last blocks.

    A are the products of queries and keys of every head, neither scaled nor normalised.

    Args:
        channels: Heads of all blocks together.
        init_cfg: mmengine's.

    Raises:
        ConfigError: ``channels`` is not positive.
    """

    def __init__(self, channels: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if channels < 1:
            raise ConfigError(
                f'AttentionAffinity needs channels >= 1, not {channels}',
                token='channels',
            )
        self.proj = nn.Conv2d(channels, 1, 1)

    def forward(self, blocks: Sequence[Tensor]) -> Tensor:
        """Affinities of all pairs of cells.

        Args:
            blocks: ``(N, heads, P, P)`` of each block, the earlier one first.

        Returns:
            ``(N, P, P)`` in (0, 1), symmetric.
        """
        products = torch.cat(tuple(blocks), 1)
        return self.proj(products + products.transpose(2, 3))[:, 0].sigmoid()


def raw_products(
    queries: Tensor, keys: Tensor, size: tuple[int, int], reduction: int = 1
) -> Tensor:
    """Products of queries and keys, a square matrix also where keys are fewer.

    Args:
        queries: ``(N, heads, h w, d)``.
        keys: ``(N, heads, h w / reduction^2, d)``.
        size: ``(h, w)``, multiples of the reduction.
        reduction: Side of the windows of cells that share a key, as in MiT.

    Returns:
        ``(N, heads, Q, Q)``, Q the number of keys: the products are averaged over the
        queries of each window.
    """
    products = queries @ keys.transpose(-2, -1)
    if reduction == 1:
        return products
    maps = products.transpose(-2, -1).flatten(0, 1).unflatten(2, size)
    pooled = F.avg_pool2d(maps, reduction).flatten(2).transpose(1, 2)
    return pooled.unflatten(0, products.shape[:2])


@torch.no_grad()
def affinity_walk(
    maps: Tensor,
    affinities: Tensor,
    labels: Tensor | None = None,
    background: float | None = None,
    window: Tensor | None = None,
    shift: float | None = None,
) -> Tensor:
    """Class maps after one step along squared affinities.

    Source: AFA, eq. 5. Its code adds a number to the sums of a column, so that weak cells
    lose some of their score.

    Args:
        maps: ``(N, C, h, w)``.
        affinities: ``(N, h w, h w)`` in [0, 1].
        labels: ``(N, C)`` in {0, 1}, needed with a background.
        background: Score of the background, put before the maps; the softmax over the
            background and the present classes is then what walks. None walks the maps.
        window: ``(h w, h w)`` bool, the pairs that count; all by default.
        shift: What is added to the sums; by default 0.1, and 1e-4 without a background, as
            in the code. With 0 no cell loses a score.

    Returns:
        ``(N, C, h, w)``, or ``(N, 1 + C, h, w)`` with a background; absent classes are 0.
    """
    if window is not None:
        affinities = affinities * window.to(affinities)
    squares = affinities.square()
    if shift is None:
        shift = 1e-4 if background is None else 0.1
    transition = squares / (squares.sum(1, keepdim=True) + shift)
    if background is not None:
        ground = torch.full_like(maps[:, :1], background)
        maps = present_shares(torch.cat([ground, maps], 1), labels)
    return (maps.flatten(2) @ transition).reshape(maps.shape)


def present_shares(scores: Tensor, labels: Tensor | None) -> Tensor:
    """Softmax of scores over the background and the classes of each image.

    Args:
        scores: ``(N, 1 + C, h, w)``, background first.
        labels: ``(N, C)`` in {0, 1}; None for all classes.

    Returns:
        The same shape; absent classes are 0.
    """
    if labels is None:
        return scores.softmax(1)
    absent = F.pad(labels == 0, (1, 0), value=False)[:, :, None, None]
    return scores.masked_fill(absent, -torch.inf).softmax(1)
