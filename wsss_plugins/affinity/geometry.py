"""Pairs of pixels within a radius, the unit of AffinityNet and of the random walk.

Sources: Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level
Supervision" (PSA), CVPR 2018, section 3.2; Ahn, Cho and Kwak (IRN), CVPR 2019.
P is the number of partners of one pixel, F the number of pixels at which pairs start.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from wsss_plugins.errors import ConfigError, DataError, near_names

BorderRule = Literal['psa', 'irn']
"""Which pixels pairs start from.

'psa': rows ``0..H - r`` and columns ``r - 1..W - r`` only, so that every partner is
inside the image. A trap of the original: two pixels of the last ``r - 1`` rows, or of
one of the outer ``r - 1`` columns, are never a pair. 'irn': every pixel; partners
outside the image are left out.
"""

IGNORE = 255
"""The label of unsure pixels, which form no pair."""


def check_pairs(radius: int, border: str) -> None:
    """Refuses an unknown border rule and a radius without any pair.

    Raises:
        ConfigError: A radius below 2 or an unknown ``border``.
    """
    if radius < 2:
        raise ConfigError(f'radius of pixel pairs must be at least 2, not {radius}')
    if border not in ('psa', 'irn'):
        raise ConfigError(
            f"unknown border rule '{border}': {near_names(border, ('psa', 'irn'))}",
            token=border,
        )


@lru_cache(maxsize=16)
def pair_offsets(radius: int) -> Tensor:
    """Offsets from a pixel to its partners, one of each two opposite ones.

    Args:
        radius: r in pixels of the grid, >= 2; partners are nearer than r (strictly).

    Returns:
        ``(P, 2)`` int64, (dy, dx), in PSA's order: the row itself to the right, then
        the rows below from left to right. P is 34 for radius 5. Shared: do not change.
    """
    reach = range(1 - radius, radius)
    offsets = [(0, dx) for dx in range(1, radius)]
    offsets += [
        (dy, dx) for dy in range(1, radius) for dx in reach if dy**2 + dx**2 < radius**2
    ]
    return torch.tensor(offsets)


@lru_cache(maxsize=16)
def pair_indices(
    height: int, width: int, radius: int, border: BorderRule = 'psa'
) -> tuple[Tensor, Tensor]:
    """Flat indices of the pixels of every pair in a map ``(height, width)``.

    Args:
        height: H.
        width: W.
        radius: See :func:`pair_offsets`.
        border: Which pixels pairs start from, see :data:`BorderRule`.

    Returns:
        The pixels pairs start from ``(F,)``, row by row, and their partners
        ``(P, F)``; int64 indices ``y * W + x``. With 'irn' a partner outside the map is
        -1; with 'psa' there is none. Shared by all callers: do not change.

    Raises:
        DataError: The map is too small for any pair of 'psa'.
        ConfigError: A radius below 2 or an unknown border rule.
    """
    check_pairs(radius, border)
    rows, columns = torch.arange(height), torch.arange(width)
    if border == 'psa':
        if height < radius or width < 2 * radius - 1:
            raise DataError(
                f'a map of {(height, width)} has no pixel pairs of radius {radius}: '
                f"it needs at least {(radius, 2 * radius - 1)}, or border='irn'"
            )
        rows, columns = rows[: height - radius + 1], columns[radius - 1 : 1 - radius]
    y, x = torch.meshgrid(rows, columns, indexing='ij')
    dy, dx = pair_offsets(radius).T[..., None]
    to_y, to_x = y.flatten() + dy, x.flatten() + dx
    outside = (to_y >= height) | (to_x < 0) | (to_x >= width)
    partners = (to_y * width + to_x).masked_fill_(outside, -1)
    return (y * width + x).flatten(), partners


@lru_cache(maxsize=16)
def pair_mask(
    height: int, width: int, radius: int, border: BorderRule = 'irn'
) -> Tensor:
    """Which pixels of a map ``(height, width)`` form each pair.

    Args:
        height: H.
        width: W.
        radius: See :func:`pair_offsets`.
        border: See :data:`BorderRule`.

    Returns:
        ``(P, H, W)`` bool: whether the pixel and its partner at the offset are a pair.
        False everywhere for a map too small for 'psa'. Shared: do not change.

    Raises:
        ConfigError: A radius below 2 or an unknown border rule.
    """
    check_pairs(radius, border)
    y, x = torch.arange(height)[:, None], torch.arange(width)
    dy, dx = pair_offsets(radius).T[..., None, None]
    mask = (y + dy < height) & (x + dx >= 0) & (x + dx < width)
    if border == 'psa':
        mask &= (y <= height - radius) & (x >= radius - 1) & (x <= width - radius)
    return mask


@lru_cache(maxsize=512)
def pair_path(dy: int, dx: int) -> tuple[tuple[int, int], ...]:
    """The pixels on the way from a pixel to its partner, in IRN's order.

    Source: Ahn, Cho and Kwak (IRN), CVPR 2019, eq. 3, as the released code draws the way:
    the pixels of the bounding box whose centre is nearer than 1 to the line through both.

    Args:
        dy: Rows from the pixel to its partner, >= 0.
        dx: Columns from the pixel to its partner.

    Returns:
        Offsets ``(y, x)``: the partner first, the pixel ``(0, 0)`` last, and of two pixels
        the one that is farther from the pixel in rows plus columns first.
    """
    columns = range(min(0, dx), max(0, dx) + 1)
    box = [(y, x) for y in range(dy + 1) for x in columns]
    way = [(y, x) for y, x in box if (dy * x - dx * y) ** 2 < dy**2 + dx**2]
    return tuple(sorted(way, key=lambda at: -abs(at[0]) - abs(at[1])))


def pair_labels(
    label: Tensor, radius: int, border: BorderRule = 'psa'
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels every pair of a label map: same class or different classes.

    Args:
        label: ``(H, W)`` or ``(N, H, W)`` integers: 0 background, 1.. classes, 255
            unsure; on the grid of the affinities.
        radius: See :func:`pair_offsets`.
        border: See :data:`BorderRule`.

    Returns:
        ``(bg_pos, fg_pos, neg)``, each ``(P, F)`` or ``(N, P, F)`` bool: both
        background, both of one class, of different classes. A pair with an unsure
        pixel, or with one outside the map, is none of them.

    Raises:
        DataError: ``label`` does not have two or three axes, or is too small for any
            pair.
        ConfigError: A radius below 2 or an unknown border rule.
    """
    if label.ndim not in (2, 3):
        raise DataError(
            f'pair labels need label maps (H, W) or (N, H, W), not {tuple(label.shape)}'
        )
    height, width = label.shape[-2:]
    source, target = pair_indices(height, width, radius, border)
    flat = label.flatten(-2)
    first = flat[..., source.to(label.device)].unsqueeze(-2)
    target = target.to(label.device)
    second = flat[..., target]
    valid = (first != IGNORE) & (second != IGNORE) & (target >= 0)
    same, background = first == second, first == 0
    return valid & same & background, valid & same & ~background, valid & ~same
