"""Drawing what annotation tools mark: polygons, boxes, discs, run lengths and masks.

Coordinates are in pixels from the upper left corner of the photo, so that the pixel in
the corner reaches from 0 to 1; polygons are drawn by pycocotools, as COCO's own are.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from wsss_plugins.datasets.annotations.marked import Draw, refuse_outside
from wsss_plugins.datasets.coco_masks import FARTHEST, decode_rle
from wsss_plugins.errors import DataError
from wsss_plugins.structures.decoding import decoding

CORNERS_OF_DISC = 64


def points(given: Any, least: int) -> np.ndarray:
    """Coordinates as an array.

    Args:
        given: ``[x0, y0, x1, y1, ...]``, or pairs of them.
        least: How many points there must be at least.

    Returns:
        ``(N, 2)`` float64.

    Raises:
        DataError: The coordinates are no numbers, not in pairs, too few, or beyond
            :data:`FARTHEST`.
    """
    try:
        flat = np.asarray(given, np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise DataError(f'coordinates are no numbers: {_short(given)}') from error
    if flat.size % 2 or flat.size < 2 * least or not np.isfinite(flat).all():
        raise DataError(
            f'{flat.size} coordinates, where pairs of x and y of {least} or more points '
            f'belong: {_short(given)}'
        )
    if np.abs(flat).max() > FARTHEST:
        raise DataError(f'coordinates are no pixels of a photo: {_short(given)}')
    return flat.reshape(-1, 2)


def polygons(corners: Sequence[np.ndarray], fractions: bool = False) -> Draw:
    """Draws the union of polygons.

    Args:
        corners: ``(N, 2)`` of each polygon, N >= 3.
        fractions: Whether coordinates are fractions of width and height.
    """

    def draw(size: tuple[int, int]) -> np.ndarray:
        """The pixels whose middle lies in a polygon."""
        height, width = size
        scale = (width, height) if fractions else (1, 1)
        scaled = [each * scale for each in corners]
        codes = coco_mask.frPyObjects([c.ravel().tolist() for c in scaled], *size)
        pixels = coco_mask.decode(coco_mask.merge(codes)) > 0
        return refuse_outside(pixels, np.concatenate(scaled))

    return draw


def box(corners: np.ndarray, fractions: bool = False) -> Draw:
    """Draws all pixels that a box touches.

    Args:
        corners: ``(2, 2)``, two opposite corners.
        fractions: Whether coordinates are fractions of width and height.
    """

    def draw(size: tuple[int, int]) -> np.ndarray:
        """The pixels of the box."""
        height, width = size
        scaled = corners * ((width, height) if fractions else (1, 1))
        left, top = np.maximum(np.floor(scaled.min(0) + 1e-6), 0).astype(int)
        right, bottom = np.maximum(np.ceil(scaled.max(0) - 1e-6), 0).astype(int)
        pixels = np.zeros(size, bool)
        pixels[top:bottom, left:right] = True
        return refuse_outside(pixels, scaled)

    return draw


def disc(middle: np.ndarray, edge: np.ndarray) -> Draw:
    """Draws a disc.

    Args:
        middle: ``(2,)``, x and y of its middle.
        edge: ``(2,)``, a point of its edge.
    """
    angles = np.linspace(0, 2 * np.pi, CORNERS_OF_DISC, endpoint=False)
    radius = float(np.hypot(*(edge - middle)))
    around = middle + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    return polygons([around])


def run_lengths(code: Mapping[str, Any]) -> Draw:
    """Draws COCO's run lengths, compressed or not."""

    def draw(size: tuple[int, int]) -> np.ndarray:
        """The pixels of the code."""
        try:
            return decode_rle(code, size)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f'no run-length code of COCO ({type(error).__name__}: {error})'
            ) from error

    return draw


def picture(content: str, corner: np.ndarray) -> Draw:
    """Draws a mask that is a picture.

    Args:
        content: A PNG in base64; values above 0 are the object.
        corner: ``(2,)``, x and y of its upper left pixel.

    Raises:
        DataError: ``content`` is no picture.
    """
    with decoding('its mask, a picture in base64,', 'draw it again'):
        data = io.BytesIO(base64.b64decode(content, validate=True))
        with Image.open(data) as image:
            inner = np.asarray(image.convert('L')) > 0
    left, top = np.rint(corner).astype(int)

    def draw(size: tuple[int, int]) -> np.ndarray:
        """The pixels of the mask at its place."""
        height, width = inner.shape
        if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
            raise DataError(
                f'its mask of {height} x {width} at ({left}, {top}) leaves the photo of '
                f'{size[0]} x {size[1]} (H x W)'
            )
        pixels = np.zeros(size, bool)
        pixels[top : top + height, left : left + width] = inner
        return pixels

    return draw


def _short(given: Any) -> str:
    """The beginning of what was given."""
    text = ' '.join(str(given).split())
    return text if len(text) <= 40 else f'{text[:37]}...'
