"""Views of a photo: its size, its scale and its mirror image, as networks are given them."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.structures.one_thread import one_thread
from wsss_plugins.structures.tiles import shrunk, shrunk_size


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images ``(N, C, H, W)`` at another size, bilinear; as they are where it is theirs.

    The pixels do not depend on the number of threads, so that kept features are found.
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    with one_thread():
        return F.interpolate(images, size=size, mode='bilinear', align_corners=False)


def sides_of(
    size: tuple[int, int], multiple: int, scale: float = 1.0
) -> tuple[int, int]:
    """Sides of about ``scale`` times ``size``, each rounded to a multiple, at least one.

    Args:
        size: ``(H, W)``.
        multiple: What the sides are multiples of, in pixels.
        scale: Factor of the sides.
    """
    rows, columns = (max(1, round(s * scale / multiple)) * multiple for s in size)
    return rows, columns


def scaled(images: Tensor, scale: float, multiple: int) -> Tensor:
    """Images ``(N, C, H, W)`` of about ``scale`` times their size, see :func:`sides_of`."""
    size = (images.shape[-2], images.shape[-1])
    return resized(images, sides_of(size, multiple, scale))


def view_of(
    photo: np.ndarray,
    multiple: int,
    max_side: int | None = None,
    scale: float = 1.0,
    flip: bool = False,
) -> Tensor:
    """One view of a photo, as seed heads and segmentors see it.

    Args:
        photo: ``(H, W, 3)`` uint8.
        multiple: What the sides of the view are multiples of, in pixels.
        max_side: Longest side of the reduced copy that is scaled; None for no reduction.
        scale: Factor of the sides of the copy.
        flip: Whether to mirror the view.

    Returns:
        ``(3, h, w)`` float32 in 0..255.
    """
    copy = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))
    if max_side is not None:
        copy = shrunk(copy, max_side)
    images = scaled(
        scaled(copy[None].to(torch.float32), 1.0, multiple), scale, multiple
    )
    return (images.flip(-1) if flip else images)[0]


def view_size(
    size: tuple[int, int], multiple: int, max_side: int | None, scale: float = 1.0
) -> tuple[int, int]:
    """``(H, W)`` of the view that :func:`view_of` gives of a photo of ``size``."""
    if max_side is not None:
        size = shrunk_size(size, max_side)
    return sides_of(sides_of(size, multiple), multiple, scale)
