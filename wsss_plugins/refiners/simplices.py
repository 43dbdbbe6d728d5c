"""Finds the simplices of the permutohedral lattice that contain given points.

Source: Adams, Baek, Davis, "Fast High-Dimensional Filtering Using the
Permutohedral Lattice", Eurographics 2010, section 3.1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from wsss_plugins.errors import DataError


class Simplices(NamedTuple):
    """The simplex around every point, ``D = d + 1`` corners, corners first.

    Attributes:
        keys: ``(D, N)`` integers >= 0, row r is the corner with remainder r; equal keys
            are the same vertex.
        weights: ``(D, N)`` barycentric weights; they sum to 1 over the corners.
        steps: The increment of a key for a step along each of the D axes.
        num_keys: Upper bound of the keys.
    """

    keys: Tensor
    weights: Tensor
    steps: list[int]
    num_keys: int


def enclosing_simplices(features: Tensor, groups: int = 1) -> Simplices:
    """Finds the simplex around every point.

    Args:
        features: ``(N, d)`` floats.
        groups: Point n belongs to group ``n mod groups``; groups share no vertex.

    Raises:
        DataError: The features spread over more lattice cells than 63 bits can number.
    """
    elevated = _elevate(features.T.contiguous())
    dims = len(elevated)
    base = (elevated / dims).round_()
    rank = _ascending_rank(torch.sub(elevated, base, alpha=dims))
    # Whole steps along the axes bring the sum of the coordinates back to 0.
    rank -= base.sum(0).to(rank.dtype)
    wrap = (rank >= dims).view(rank.dtype) - (rank < 0).view(rank.dtype)
    rank -= wrap * dims
    base += wrap
    order = rank.long()
    keys, steps, num_keys = _number(base, order, groups)
    offset = torch.empty_like(elevated)
    offset.scatter_(0, order, elevated.div_(dims).sub_(base))
    return Simplices(keys, _barycentric(offset), steps, num_keys)


def _elevate(features: Tensor) -> Tensor:
    """Rotates ``(d, N)`` onto the hyperplane of ``D`` coordinates with sum 0.

    The scale ``sqrt(2/3) D`` makes one blur along each axis a unit Gaussian.
    """
    dims = len(features) + 1
    # Rounded where pydensecrf rounds it, so that both find the same vertices.
    spread = features.new_tensor(math.sqrt(2 / 3) * dims).item()
    rows, total = [], torch.zeros_like(features[0])
    for j in range(dims - 1, 0, -1):
        scaled = features[j - 1] * (spread / math.sqrt(j * (j + 1)))
        rows.append(total - j * scaled)
        total = total + scaled
    return torch.stack([total, *reversed(rows)])


def _ascending_rank(rows: Tensor) -> Tensor:
    """Position of each row in ascending order, int8; on ties the upper row first."""
    start = torch.arange(len(rows) - 1, -1, -1, dtype=torch.int8, device=rows.device)
    rank = start[:, None].repeat(1, rows.shape[1])
    for i in range(1, len(rows)):
        for j in range(i):
            below = (rows[j] < rows[i]).view(torch.int8)
            rank[j] -= below
            rank[i] += below
    return rank


def _barycentric(offset: Tensor) -> Tensor:
    """Makes weights of ascending offsets, in place (Adams et al., proposition 4.2)."""
    first = 1 + offset[0] - offset[-1]
    for r in range(len(offset) - 1, 0, -1):
        offset[r] -= offset[r - 1]
    offset[0] = first
    return offset


def _number(base: Tensor, order: Tensor, groups: int) -> tuple[Tensor, list[int], int]:
    """Numbers the corners of all simplices by one integer each.

    The coordinates of a vertex are congruent modulo ``D``, so the first coordinate and
    the differences to it divided by ``D`` determine the vertex. Packing them by mixed
    radix is a linear map, hence a step along an axis adds a constant to the number.

    Args:
        base: ``(D, N)``: the remainder-0 corners, divided by D.
        order: ``(D, N)`` int64: ascending order of the offsets from that corner.
        groups: See :func:`enclosing_simplices`.

    Returns:
        Keys ``(D, N)``, the step of each axis, and a bound of the keys.
    """
    dims = len(base)
    digits = [base[0].int() * dims, *((row - base[0]).int() for row in base[1:-1])]
    ranges = torch.stack([torch.stack(digit.aminmax()) for digit in digits]).tolist()
    low, radix, total = [], [], 1
    for i, (least, most) in enumerate(ranges):
        # Room for the corners of the simplex and for one step beyond them.
        margin = 2 if i else 2 * dims
        low.append(least - margin)
        radix.append(total)
        total *= most + margin - low[-1] + 1
    if total * groups >= 2**63:
        raise DataError(
            f'{dims - 1} features spread over 1e+{len(str(total)) - 1} lattice cells, more than '
            '9e+18: use fewer features or larger kernel widths'
        )
    # An axis step adds -1 to every coordinate and D more to its own; the last axis
    # has no stored coordinate.
    inner = [dims * radix[0] - sum(radix[1:]), *radix[1:], 0]
    steps = [place - radix[0] for place in inner]
    dtype = torch.int32 if total * groups < 2**31 else torch.int64
    keys = torch.empty(dims + 1, base.shape[1], dtype=dtype, device=base.device)
    torch.arange(base.shape[1], out=keys[0])
    keys[0].remainder_(groups).mul_(total)
    for digit, least, place in zip(digits, low, radix, strict=True):
        keys[0] += (digit.to(dtype) - least) * place
    # From corner to corner it is one step back along the next axis in ``order``.
    back = -keys.new_tensor(steps)
    keys[1:].scatter_(0, order, back[:, None].expand(order.shape))
    for r in range(1, dims):
        keys[r] += keys[r - 1]
    return keys[:dims], steps, total * groups
