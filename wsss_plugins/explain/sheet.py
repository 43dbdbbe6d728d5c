"""Explanations side by side: a row per photo and class, a picture per method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wsss_plugins.explain.call import Explanation
from wsss_plugins.explain.methods import spelt_out
from wsss_plugins.explain.overlay import TILE, fitted, overlay
from wsss_plugins.structures.pictures import HEAT, SIGNED

GAP, MARGIN = 12, 28
TITLE, CAPTION = 22, 15
"""Sizes of the letters, in pixels."""

PAPER, INK, SOFT, RULE = '#ffffff', '#1b1f24', '#56606b', '#d9dee4'
"""As in the style sheet of the report."""

FONTS = Path(matplotlib.get_data_path()) / 'fonts' / 'ttf'


def draw_sheet(
    rows: Sequence[tuple[str, Sequence[Explanation]]], signed: bool = False
) -> Image.Image:
    """Draws the photo and one overlay per method for every class.

    Each map has its own scale, so that colours compare places within a picture and not
    between pictures. The scale runs from the lowest positive value to the value that a
    share :data:`~wsss_plugins.explain.overlay.BRIGHTEST` of the pixels reaches.

    Args:
        rows: For each photo its name and one explanation per method, all of the same
            classes.
        signed: Whether to show negative relevance in blue; zero is white then.

    Returns:
        RGB picture.
    """
    bands = [
        _class_band(title, group, k, signed)
        for title, group in rows
        for k in range(len(group[0].classes))
    ]
    return stack([*bands, scale(signed)])


def stack(bands: Sequence[Image.Image]) -> Image.Image:
    """Bands one below the other, with a margin around each."""
    width = max(band.width for band in bands) + 2 * MARGIN
    height = sum(band.height for band in bands) + MARGIN * (len(bands) + 1)
    sheet, top = Image.new('RGB', (width, height), PAPER), MARGIN
    for band in bands:
        sheet.paste(band, (MARGIN, top))
        top += band.height + MARGIN
    return sheet


def _class_band(
    title: str, group: Sequence[Explanation], k: int, signed: bool
) -> Image.Image:
    """The pictures of one class of one photo, under its name."""
    first = group[0]
    photo = fitted(first.photo)
    tiles = [Image.fromarray(photo)]
    captions = [title]
    for each in group:
        tiles.append(overlay(photo, each.maps[k], signed))
        words = spelt_out(each.method)
        empty = not (np.abs(each.maps[k]) if signed else each.maps[k]).max() > 0
        captions.append(f'{words} (nothing)' if empty else words)
    share = f'{100 * float(first.probabilities[k]):.1f} %'
    return tile_band(first.names[k], share, tiles, captions)


def tile_band(
    heading: str,
    note: str,
    tiles: Sequence[Image.Image],
    captions: Sequence[str],
    columns: int | None = None,
) -> Image.Image:
    """Pictures of one size side by side, each with a caption, under a heading.

    Args:
        heading: Bold text above the pictures.
        note: Text after the heading.
        tiles: The pictures.
        captions: Text below each picture.
        columns: Number of pictures in a row; by default all.

    Returns:
        RGB picture.
    """
    columns = min(columns or len(tiles), len(tiles))
    step, head = max(t.width for t in tiles) + GAP, 2 * TITLE
    high = tiles[0].height + 2 * CAPTION
    rows = -(-len(tiles) // columns)
    size = (step * columns - GAP, head + rows * high + (rows - 1) * GAP)
    band = Image.new('RGB', size, PAPER)
    # A short note, such as a share, is shown whole; before a long one is the heading.
    kept = min(int(_font(TITLE).getlength(note)), band.width // 2) + GAP
    room = band.width - kept
    end = _write(band, (0, 0), heading, TITLE, INK, room, 'DejaVuSans-Bold') + GAP
    _write(band, (end, 0), note, TITLE, SOFT, band.width - end)
    for i, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left, top = i % columns * step, head + i // columns * (high + GAP)
        band.paste(tile, (left, top))
        below = (left, top + tile.height + CAPTION // 2)
        _write(band, below, caption, CAPTION, SOFT, tile.width)
    return band


def scale(signed: bool) -> Image.Image:
    """The legend of the colours."""
    low, high = ('against', 'for') if signed else ('low', 'high')
    steps = (SIGNED if signed else HEAT)(np.linspace(0, 1, TILE // 2), bytes=True)
    strip = np.repeat(steps[None, :, :3], CAPTION, 0)
    band = Image.new('RGB', (2 * TILE, CAPTION + CAPTION // 2), PAPER)
    end = _write(band, (0, 0), low, CAPTION, SOFT, TILE) + GAP
    band.paste(Image.fromarray(strip), (end, 2))
    _write(band, (end + TILE // 2 + GAP, 0), high, CAPTION, SOFT, TILE)
    return band


def _write(
    band: Image.Image,
    place: tuple[int, int],
    text: str,
    size: int,
    colour: str,
    room: int,
    face: str = 'DejaVuSans',
) -> int:
    """Writes ``text``, shortened to ``room`` pixels; returns where it ends."""
    font = _font(size, face)
    shown = text
    while len(shown) > 2 and font.getlength(shown) > room:
        shown = f'{shown[:-2]}…'
    ImageDraw.Draw(band).text(place, shown, colour, font)
    return place[0] + round(font.getlength(shown))


def _font(size: int, face: str = 'DejaVuSans') -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / f'{face}.ttf'), size)
