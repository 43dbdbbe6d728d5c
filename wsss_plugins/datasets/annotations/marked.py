"""What an annotation says of a photo, whatever tool wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from wsss_plugins.errors import DataError
from wsss_plugins.structures import IGNORE

Draw: TypeAlias = Callable[[tuple[int, int]], np.ndarray]
"""Draws an object in a photo of size ``(H, W)``; returns ``(H, W)`` bool."""


@dataclass(frozen=True)
class Marked:
    """An object that an annotation marks in a photo.

    Attributes:
        name: Its class.
        shape: Draws its pixels, or None where only its place is known.
        extent: Draws the pixels among which it lies, such as a box, or None.
        ignored: Whether its pixels do not count: a crowd, or a region to ignore.
    """

    name: str
    shape: Draw | None = None
    extent: Draw | None = None
    ignored: bool = False


@dataclass(frozen=True)
class Annotation:
    """All that is marked in one photo.

    Attributes:
        photos: Names that the photo may have, the most certain first; paths with '/'.
        where: File, and line or id in it, for messages.
        objects: The objects, in order.
        size: ``(H, W)`` of the photo as the tool saw it, or None.
    """

    photos: tuple[str, ...]
    where: str
    objects: tuple[Marked, ...]
    size: tuple[int, int] | None = None


def is_background(name: str) -> bool:
    """Whether a name is that of the background, which is no class."""
    return name.strip('_').casefold() == 'background'


def is_ignored(name: str) -> bool:
    """Whether a name is that of regions that do not count, such as '__ignore__'."""
    return name.strip('_').casefold() == 'ignore'


def label_map(
    objects: Sequence[Marked], values: Mapping[str, int], size: tuple[int, int]
) -> np.ndarray | None:
    """Draws the objects of a photo into one label map.

    Regions to ignore and boxes of objects without a shape are 255 and drawn first; then
    objects follow, the larger first, so that small ones stay on top.

    Args:
        objects: What is marked.
        values: Value of each class in a label map; objects of other names are drawn as
            background.
        size: ``(H, W)`` of the photo.

    Returns:
        ``(H, W)`` uint8; None where the pixels of an object are not known: it has neither
        shape nor extent, or no object of the photo has a shape.

    Raises:
        DataError: An object lies outside the photo.
    """
    objects = [m for m in objects if m.name in values or m.shape or m.ignored]
    if any(m.shape is None and m.extent is None for m in objects):
        return None
    if objects and not any(m.shape and not m.ignored for m in objects):
        return None
    drawn = []
    for item in objects:
        draw = item.shape or item.extent
        pixels = np.zeros(size, bool) if draw is None else draw(size)
        known = item.shape is not None and not item.ignored
        value = values.get(item.name, 0) if known else IGNORE
        drawn.append((known, -int(pixels.sum()), value, pixels))
    found = np.zeros(size, np.uint8)
    for _, _, value, pixels in sorted(drawn, key=lambda each: each[:2]):
        found[pixels] = value
    return found


def refuse_outside(pixels: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """``pixels``, if they are some or the corners lie in the photo.

    Args:
        pixels: ``(H, W)`` bool, what was drawn.
        corners: ``(N, 2)``, x and y.

    Raises:
        DataError: Nothing was drawn, and no corner lies in the photo.
    """
    height, width = pixels.shape
    inside = ((corners >= 0) & (corners <= (width, height))).all(1)
    if not pixels.any() and not inside.any():
        x, y = corners[0]
        raise DataError(
            f'an object at ({x:g}, {y:g}) lies outside the photo of {height} x {width} '
            '(H x W): the annotation is of another photo, or of a copy of another size'
        )
    return pixels
