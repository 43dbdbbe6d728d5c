"""Draws the attributes of an eX-ViT for one photo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from wsss_plugins.explain.attributes import AttributeExplanation
from wsss_plugins.explain.overlay import TILE, fitted, overlay
from wsss_plugins.explain.sheet import scale, stack, tile_band
from wsss_plugins.structures.pictures import SIGNED, heat_picture

COLUMNS = 4


def draw_attributes(
    rows: Sequence[tuple[str, AttributeExplanation]],
) -> Image.Image:
    """Draws each photo, its class maps, the weights of each attribute, and their parts.

    Each class map and each attribute has its own colour scale. The parts of a class
    share one scale, so that a pale part has a small contribution. Where a map has
    positive and negative values, zero is white.

    Args:
        rows: For each photo its name and its attributes.

    Returns:
        RGB picture.
    """
    return stack([band for title, found in rows for band in _bands(title, found)])


def _bands(title: str, found: AttributeExplanation) -> list[Image.Image]:
    """The pictures of one photo."""
    whole = found.whole
    photo = fitted(whole.photo)
    shares = [f'{100 * float(p):.1f} %' for p in whole.probabilities]
    maps = [overlay(photo, m, signed=True) for m in whole.maps]
    names = [f'{n} {share}' for n, share in zip(whole.names, shares, strict=True)]
    note = 'patch by patch, for and against'
    tiles, captions = [Image.fromarray(photo), *maps], [title, *names]
    bands = [tile_band('class maps', note, tiles, captions, COLUMNS)]
    titles = [f'attribute {i}' for i in range(len(found.looks))]
    looks = [overlay(photo, look, signed=False) for look in found.looks]
    spans = [
        f'{t}: {look.min():.2f} to {look.max():.2f}'
        for t, look in zip(titles, found.looks, strict=True)
    ]
    note = 'where each looks, whatever the class: its weight'
    bands.append(tile_band('attributes', note, looks, spans, COLUMNS))
    bands.append(scale(signed=False))
    for name, parts in zip(whole.names, found.parts, strict=True):
        top = float(np.abs(parts).max()) or 1.0
        tiles = [heat_picture(photo, 0.5 + 0.5 * p / top, TILE, SIGNED) for p in parts]
        note = 'what each attribute adds to its map, on one scale'
        bands.append(tile_band(name, note, tiles, titles, COLUMNS))
    return [*bands, scale(signed=True)]
