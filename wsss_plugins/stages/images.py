"""Groups photos of a data set into batches of one size, and turns them into tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.errors import DataError
from wsss_plugins.structures.views import resized, sides_of


def batches_of_one_size(dataset: WSSSDataset, batch_size: int) -> Iterator[list[int]]:
    """Groups images of equal size into batches, which then need no padding.

    Args:
        dataset: The images.
        batch_size: Largest number of images in a batch.

    Yields:
        Indices of the images of a batch. Images whose size cannot be read form batches of
        their own; reading them raises an error.
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
    """Turns pixels ``(H, W, 3)`` uint8 into a tensor ``(3, H, W)`` uint8 for refiners."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def as_input(
    model: WSSSClassifier,
    photos: Sequence[np.ndarray],
    size: tuple[int, ...] | None = None,
) -> Tensor:
    """Resizes and normalises photos for a classifier.

    Args:
        model: The classifier.
        photos: ``(H, W, 3)`` uint8 each, all of one size.
        size: Height and width to resize to; by default the size of the photos, rounded
            to multiples of the backbone's stride.

    Returns:
        ``(N, 3, H', W')``, normalised, on the device of the model.
    """
    pixels = torch.from_numpy(np.stack(photos))
    where = model.data_preprocessor.mean.device
    images = pixels.permute(0, 3, 1, 2).to(where, torch.float32)
    target = size or sides_of(
        (images.shape[2], images.shape[3]), model.backbone.multiple
    )
    return model.normalise(resized(images, (target[0], target[1])))
