"""Images whose pixels are exchanged in the order of a relevance map, in batches.

Perturbation, insertion and deletion share this module: one sort per map, and one list
of all masked images of all levels, which passes through the network in chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from wsss_plugins.errors import ConfigError, DataError

LogitsOf = Callable[[Tensor], Tensor]


def area_under_curve(values: ArrayLike, dx: float) -> np.ndarray:
    """Area below ``(..., P)`` points at distance ``dx`` by trapezoids, ``(...)``."""
    values = np.asarray(values)
    return dx * (values[..., 1:] + values[..., :-1]).sum(-1) / 2


def pixel_ranks(maps: Tensor) -> Tensor:
    """Rank of every pixel in its map, 0 the most relevant; ties in row-major order.

    One sort is enough for all levels of both signs. Equal values, which are frequent in
    maps cut at zero, are ordered as in the image, from the bottom up for the negative
    sign.

    Args:
        maps: ``(N, H, W)``.

    Returns:
        ``(N, H, W)`` int64 in 0..H*W-1.
    """
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).view(maps.shape)


def pixel_counts(pixels: int, steps: int) -> list[int]:
    """``int(pixels * k / steps)`` for k = 0..steps, rounded down as in the original.

    Raises:
        ConfigError: ``steps`` is less than 2.
    """
    if steps < 2:
        raise ConfigError(f'the number of steps must be at least 2, not {steps}')
    return [int(pixels * (k / steps)) for k in range(steps + 1)]


@torch.no_grad()
def masked_logits(
    logits_of: LogitsOf,
    old: Tensor,
    new: Tensor,
    ranks: Tensor,
    spans: Sequence[tuple[int, int]],
    batch_size: int,
) -> Tensor:
    """Logits of every image with every span of its ranking exchanged.

    The masked images of all images and spans form one list that goes through the
    network ``batch_size`` at a time; only one chunk of them exists at once.

    Args:
        logits_of: Network, ``(B, C, H, W)`` to ``(B, K)``.
        old: Images ``(N, C, H, W)``.
        new: Images ``(N, C, H, W)`` whose pixels replace those of ``old``.
        ranks: ``(N, H, W)`` of :func:`pixel_ranks`.
        spans: V pairs (low, high): pixels with low <= rank < high are replaced.
        batch_size: Images per forward pass.

    Returns:
        ``(N, V, K)``.

    Raises:
        ConfigError: ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ConfigError(f'batch_size must be at least 1, not {batch_size}')
    low, high = torch.tensor(spans, device=old.device)[:, :, None, None].unbind(1)
    rows = torch.arange(len(old) * len(spans), device=old.device)
    parts = []
    for row in rows.split(batch_size):
        image, span = row // len(spans), row % len(spans)
        rank = ranks[image]
        chosen = (low[span] <= rank) & (rank < high[span])
        parts.append(logits_of(torch.where(chosen[:, None], new[image], old[image])))
    return torch.cat(parts).unflatten(0, (len(old), len(spans)))


def check_images(images: Tensor, maps: Tensor) -> None:
    """Refuses images and maps that a perturbation test cannot use.

    Raises:
        DataError: The shapes do not match, an image is outside [0, 1], or a map has
            NaN.
    """
    sound = images.ndim == 4 and maps.ndim == 3 and len(images)
    if not sound or maps.shape != (len(images), *images.shape[2:]):
        raise DataError(
            'images must be (N, C, H, W) and maps (N, H, W) of the same size, not '
            f'{tuple(images.shape)} and {tuple(maps.shape)}'
        )
    if not (images.min() >= 0 and images.max() <= 1):
        raise DataError(
            f'images have values from {images.min():g} to {images.max():g}: give them '
            'in [0, 1], before normalisation'
        )
    broken = (~maps.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
    if broken:
        raise DataError(
            f'the relevance map of image {broken[0]} of the batch is not finite: '
            'without a ranking there is no order to perturb in; leave the image out'
        )


def check_classes(classes: Tensor, count: int, num_classes: int) -> None:
    """Refuses classes that are not one per image in 0..K-1.

    Raises:
        DataError: The number of classes is not that of the images, or a class is out of
            range.
    """
    if classes.shape != (count,):
        raise DataError(
            f'there must be one class for each of {count} images, not a tensor of '
            f'size {tuple(classes.shape)}'
        )
    wrong = classes[(classes < 0) | (classes >= num_classes)].tolist()
    if wrong:
        raise DataError(
            f'class {wrong[0]} is out of range: the network knows 0 to {num_classes - 1}'
        )
