"""Computes which patches of a photo attend to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from wsss_plugins.backbones import capture
from wsss_plugins.errors import ConfigError
from wsss_plugins.explain.call import ask
from wsss_plugins.explain.models import load_model
from wsss_plugins.explain.overlay import fitted, overlay
from wsss_plugins.structures.pictures import figures

Point = tuple[int, int]


@dataclass(frozen=True)
class AffinityExplanation:
    """The affinity of the patches at some points of a photo to all other patches.

    Attributes:
        photo: ``(H, W, 3)`` uint8 RGB.
        points: ``(row, column)`` of each, in pixels of the photo.
        patches: ``(row, column)`` of the patch at each point.
        maps: ``(K, H, W)`` float32: the row of the affinity of each point's patch, at
            the photo's size.
        matrix: ``(n, n)`` float32, the affinity of all pairs of patches in row-major
            order; row = the receiving patch.
        grid: ``(h, w)`` of the n patches.
    """

    photo: np.ndarray
    points: tuple[Point, ...]
    patches: tuple[Point, ...]
    maps: np.ndarray
    matrix: np.ndarray
    grid: tuple[int, int]

    def _repr_html_(self) -> str:
        """What a notebook shows: what each point takes from the whole photo."""
        photo, signed = fitted(self.photo), bool(self.matrix.min() < 0)
        return figures(
            (overlay(photo, scores, signed), f'row {row}, column {column}')
            for scores, (row, column) in zip(self.maps, self.points, strict=True)
        )


def explain_affinity(
    model: nn.Module | Path | str,
    image: Path | str | Image.Image | np.ndarray,
    points: Sequence[Point],
    size: tuple[int, int] | None = None,
    weights: Path | str | bool = True,
) -> AffinityExplanation:
    """Shows how affinity refinement weights all places of a photo for chosen places.

    The affinity is the patch-to-patch attention, mean over heads and summed over all
    blocks, as ACR's maps are refined with it.

    Source: Sun et al., All-pairs Consistency Learning for WSSS, 2023, eq. 8 and
    figures 12 and 13.

    Args:
        model: A model with attention, see :func:`load_model`. For several photos load
            it once.
        image: See :func:`explain`.
        points: ``(row, column)`` of each, in pixels of the photo.
        size: See :func:`explain`.
        weights: See :func:`load_model`.

    Raises:
        UserError: ``points`` is empty, a point is outside the photo, the model has no
            attention, or :func:`explain` would refuse the arguments.
    """
    if not points:
        raise ConfigError(
            'no points to explain: give the row and column of one or more'
        )
    classifier = load_model(model, weights)
    asked = ask(classifier, image, size=size)
    height, width = asked.photo.shape[:2]
    for row, column in points:
        if not (0 <= row < height and 0 <= column < width):
            raise ConfigError(
                f'the point at row {row}, column {column} is outside the photo: it has '
                f'rows 0 to {height - 1} and columns 0 to {width - 1}'
            )
    training = classifier.training
    classifier.eval()
    try:
        with torch.no_grad(), capture(classifier.backbone, asked.images) as trace:
            matrix = trace.patch_affinity()[0]
    finally:
        classifier.train(training)
    rows, columns = trace.grid
    patches = [(r * rows // height, c * columns // width) for r, c in points]
    flat = [r * columns + c for r, c in patches]
    return AffinityExplanation(
        asked.photo,
        tuple((r, c) for r, c in points),
        tuple(patches),
        asked.on_photo(matrix[flat].unflatten(1, trace.grid)),
        matrix.float().cpu().numpy(),
        trace.grid,
    )
