"""A map over a photo, as pictures of explanations show it."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Colormap
from PIL import Image

from wsss_plugins.structures.pictures import CRISP, HEAT, SIGNED, heat_picture

TILE = 320
"""Longest side of a picture, in pixels."""

BRIGHTEST = 0.005
"""Share of the pixels in the brightest colour: single pixels may be far above the rest."""


def overlay(photo: np.ndarray, scores: np.ndarray, signed: bool) -> Image.Image:
    """A map on a scale of its own over the photo.

    Args:
        photo: Of :func:`fitted`.
        scores: ``(H, W)``, in the shape of the original photo.
        signed: Whether negative values are shown, in blue.
    """
    values, colours = scaled(scores, signed)
    return heat_picture(photo, values, TILE, colours)


def scaled(scores: np.ndarray, signed: bool) -> tuple[np.ndarray, Colormap]:
    """A map in [0, 1], or beyond for the brightest, and the colours to show it in."""
    sizes = np.abs(scores) if signed else scores.clip(min=0)
    low = 0.0 if signed else float(sizes.min())
    high = float(np.quantile(sizes, 1 - BRIGHTEST))
    span = (high if high > low else float(sizes.max())) - low or 1.0
    if signed:
        return 0.5 + 0.5 * scores / span, SIGNED
    return (sizes - low) / span, HEAT


def fitted(photo: np.ndarray) -> np.ndarray:
    """A photo whose longest side is that of a picture; small ones keep sharp pixels."""
    image = Image.fromarray(photo)
    factor = TILE / max(image.size)
    size = [max(1, round(side * factor)) for side in image.size]
    sharp = max(image.size) <= CRISP
    way = Image.Resampling.NEAREST if sharp else Image.Resampling.LANCZOS
    return np.asarray(image.resize((size[0], size[1]), way))
