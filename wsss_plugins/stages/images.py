"""Photos of a data set as stages take them: batches of one size, and tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.workers import device
from wsss_plugins.errors import DataError


def batches_of_one_size(dataset: WSSSDataset, batch_size: int) -> Iterator[list[int]]:
    """Groups neighbouring images of one size, so that a batch needs no padding.

    Args:
        dataset: The images.
        batch_size: The most images of a batch.

    Yields:
        Indices of the images of a batch. Images whose size cannot be read share batches
        and fail when they are read.
    """
    waiting: dict[tuple[int, int] | None, list[int]] = defaultdict(list)
    for index in range(len(dataset)):
        try:
            size = None if batch_size == 1 else dataset.image_size(index)
        except DataError:
            size = None
        group = waiting[size]
        group.append(index)
        if len(group) == batch_size:
            yield list(group)
            group.clear()
    for group in waiting.values():
        if group:
            yield group


def as_image(pixels: np.ndarray) -> Tensor:
    """An image ``(H, W, 3)`` uint8 as refiners take it, ``(3, H, W)`` uint8."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def as_input(
    model: WSSSClassifier,
    photos: Sequence[np.ndarray],
    size: tuple[int, ...] | None = None,
) -> Tensor:
    """Photos as a classifier takes them.

    Args:
        model: The classifier.
        photos: ``(H, W, 3)`` uint8 each, all of one size.
        size: Height and width to resize to; by default the sides are rounded to whole
            patches.

    Returns:
        ``(N, 3, H', W')``, normalised, on this worker's device.
    """
    pixels = torch.from_numpy(np.stack(photos))
    images = pixels.permute(0, 3, 1, 2).to(device(), torch.float32)
    own = (images.shape[2], images.shape[3])
    target = size or _round_to(own, model.backbone.stride)
    if target != own:
        images = F.interpolate(
            images, size=target, mode='bilinear', align_corners=False
        )
    return model.normalise(images)


def _round_to(size: tuple[int, int], stride: int) -> tuple[int, int]:
    rows, columns = (max(1, round(side / stride)) * stride for side in size)
    return rows, columns
