"""Pictures of photos, label maps and heat maps, as data URIs and as figures in HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from io import BytesIO

import matplotlib
import numpy as np
from matplotlib.colors import Colormap
from PIL import Image

from wsss_plugins.structures.label_map import voc_palette

SIDE = 240
"""Longest side of a picture, in pixels; larger ones are reduced."""

CRISP = 128
"""Pictures of at most this side are shown enlarged with sharp pixels."""

BOX = 'display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start'
"""Style of a row of figures."""

HEAT = matplotlib.colormaps['inferno']
SIGNED = matplotlib.colormaps['RdBu_r']
"""Colours from negative (blue) over zero (white) to positive relevance (red)."""


def photo_picture(photo: np.ndarray) -> Image.Image:
    """A photo ``(H, W, 3)`` uint8, reduced."""
    image = Image.fromarray(photo)
    return image.resize(_reduced(image.size), Image.Resampling.LANCZOS)


def label_picture(label_map: np.ndarray) -> Image.Image:
    """A label map ``(H, W)`` uint8 in the colours of VOC, the background clear, reduced."""
    image = Image.fromarray(np.ascontiguousarray(label_map, np.uint8))
    image = image.resize(_reduced(image.size), Image.Resampling.NEAREST).convert('L')
    image.putpalette(voc_palette().ravel().tolist())
    return image


def heat_picture(
    photo: np.ndarray,
    scores: np.ndarray,
    side: int = SIDE,
    colours: Colormap = HEAT,
) -> Image.Image:
    """Scores in [0, 1] as colours over the greyed photo, reduced.

    Args:
        photo: ``(H, W, 3)`` uint8.
        scores: ``(H, W)``.
        side: Longest side of the picture.
        colours: Of the scores.

    Returns:
        The picture.
    """
    size = _reduced((photo.shape[1], photo.shape[0]), side)
    grey = np.asarray(Image.fromarray(photo).convert('L').resize(size), np.float32)
    clipped = np.clip(scores, 0, 1).astype(np.float32)
    values = np.asarray(
        Image.fromarray(clipped).resize(size, Image.Resampling.BILINEAR)
    )
    mixed = 0.35 * grey[..., None] + 0.65 * 255 * colours(values)[..., :3]
    return Image.fromarray(mixed.round().astype(np.uint8))


def map_picture(scores: np.ndarray, side: int = SIDE) -> Image.Image:
    """Scores ``(H, W)`` in [0, 1] as colours alone, reduced."""
    colours = HEAT(np.clip(scores, 0, 1), bytes=True)[..., :3]
    image = Image.fromarray(np.ascontiguousarray(colours))
    return image.resize(_reduced(image.size, side), Image.Resampling.BILINEAR)


def figures(pictures: Iterable[tuple[Image.Image, str]]) -> str:
    """HTML of pictures side by side, as a notebook shows it.

    Args:
        pictures: Each with its caption, plain text, which is its description for those
            who cannot see it too.

    Returns:
        A box whose row of pictures breaks where the screen is narrow.
    """
    return f'<div style="{BOX}">{"".join(map(_figure, pictures))}</div>'


def _figure(shown: tuple[Image.Image, str]) -> str:
    """One picture over its caption; a small one is enlarged with sharp pixels."""
    image, caption = shown
    sharp = max(image.size) <= CRISP
    width = round(image.width * (SIDE / max(image.size) if sharp else 1))
    style = f'max-width:100%;{"image-rendering:pixelated" * sharp}'
    words = escape(caption)
    picture = (
        f'<img src="{data_uri(image)}" alt="{words}" width="{width}" style="{style}">'
    )
    under = f'<figcaption style="max-width:{width}px">{words}</figcaption>'
    return f'<figure style="margin:0">{picture}{under}</figure>'


def data_uri(image: Image.Image) -> str:
    """The picture as PNG when it is small or indexed, else as JPEG."""
    buffer = BytesIO()
    lossless = image.mode == 'P' or max(image.size) <= CRISP
    if lossless:
        clear = {'transparency': 0} if image.mode == 'P' else {}
        image.save(buffer, 'PNG', optimize=True, **clear)
    else:
        image.save(buffer, 'JPEG', quality=80)
    kind = 'png' if lossless else 'jpeg'
    return f'data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}'


def heat_scale(steps: int = 8) -> str:
    """The colours of the heat maps from 0 to 1, as a CSS gradient."""
    colours = (
        f'rgb({",".join(str(round(255 * c)) for c in HEAT(v)[:3])})'
        for v in np.linspace(0, 1, steps)
    )
    return f'linear-gradient(90deg,{",".join(colours)})'


def _reduced(size: tuple[int, int], side: int = SIDE) -> tuple[int, int]:
    """``(width, height)`` with no side over ``side``."""
    factor = min(1.0, side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
