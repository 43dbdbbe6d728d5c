"""The affinity of chosen places of a photo, and of all pairs of its patches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from wsss_plugins.explain.affinity import AffinityExplanation
from wsss_plugins.explain.overlay import fitted, overlay, scaled
from wsss_plugins.explain.sheet import scale, stack, tile_band

COLUMNS = 5
ARM = 8
"""Half the length of a cross, in pixels."""

CROSS, RIM = '#ff2b2b', '#ffffff'


def draw_affinity(rows: Sequence[tuple[str, AffinityExplanation]]) -> Image.Image:
    """Draws each photo with crosses, the affinity of each cross, and the whole matrix.

    Every map and every matrix has a scale of its own; where attention is signed, as in an
    eX-ViT, zero is white.

    Args:
        rows: For each photo its name and its affinities.

    Returns:
        RGB picture.
    """
    signed = any(found.matrix.min() < 0 for _, found in rows)
    bands = [_band(title, found, signed) for title, found in rows]
    return stack([*bands, scale(signed)])


def _band(title: str, found: AffinityExplanation, signed: bool) -> Image.Image:
    """The pictures of one photo."""
    photo = fitted(found.photo)
    places = [_on_tile(point, found.photo, photo) for point in found.points]
    marked = Image.fromarray(photo)
    for place in places:
        _cross(marked, place)
    tiles, captions = [marked], [title]
    for place, point, scores in zip(places, found.points, found.maps, strict=True):
        tile = overlay(photo, scores, signed)
        _cross(tile, place)
        tiles.append(tile)
        captions.append(f'row {point[0]}, column {point[1]}')
    tiles.append(_matrix(found.matrix, min(photo.shape[:2]), signed))
    captions.append(f'all {len(found.matrix)} x {len(found.matrix)} pairs')
    note = f'what each place takes from the {found.grid[0]} x {found.grid[1]} patches'
    return tile_band('affinity', note, tiles, captions, COLUMNS)


def _on_tile(
    point: tuple[int, int], photo: np.ndarray, tile: np.ndarray
) -> tuple[int, int]:
    """``(x, y)`` in the tile of the middle of a pixel of the photo."""
    y, x = (
        int((place + 0.5) * new / old)
        for place, new, old in zip(point, tile.shape, photo.shape, strict=False)
    )
    return x, y


def _cross(tile: Image.Image, place: tuple[int, int]) -> None:
    """Marks a place."""
    draw, (x, y) = ImageDraw.Draw(tile), place
    for colour, width, arm in ((RIM, 5, ARM + 1), (CROSS, 3, ARM)):
        draw.line((x - arm, y, x + arm, y), colour, width)
        draw.line((x, y - arm, x, y + arm), colour, width)


def _matrix(matrix: np.ndarray, side: int, signed: bool) -> Image.Image:
    """``(n, n)`` as a square picture, means of pairs where it has fewer pixels than n."""
    n = len(matrix)
    way = Image.Resampling.BOX if n > side else Image.Resampling.NEAREST
    means = Image.fromarray(matrix.astype(np.float32)).resize((side, side), way)
    values, colours = scaled(np.asarray(means), signed)
    pixels = colours(np.clip(values, 0, 1), bytes=True)[..., :3]
    return Image.fromarray(np.ascontiguousarray(pixels))
