"""Filling polygons in integer arithmetic.

OpenCV's ``fillPoly`` gives other pixels in version 4 than in version 5; this does not
depend on any version or processor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SUBPIXEL = 16


def fill_polygons(
    size: tuple[int, int], outlines: Sequence[np.ndarray], values: Sequence[int]
) -> np.ndarray:
    """Paints polygons over each other; a pixel is inside when its centre is (even-odd).

    Corners are rounded to sixteenths of a pixel. Where an edge crosses the middle of a
    row, the polygon's bit is toggled for the rest of the row.

    Args:
        size: ``(H, W)``.
        outlines: At most 32 arrays ``(n,)`` of complex corners, x + iy in pixels.
        values: What to paint each with, 0 to 255; later ones lie on top.

    Returns:
        ``(H, W)`` uint8, 0 where there is no polygon.
    """
    height, width = size
    corners = np.concatenate(outlines)
    following = np.concatenate([np.roll(outline, -1) for outline in outlines])
    x0, y0, x1, y1 = (
        np.rint(part * _SUBPIXEL).astype(np.int64)
        for part in (corners.real, corners.imag, following.real, following.imag)
    )
    bits = np.left_shift(np.uint32(1), np.arange(len(outlines), dtype=np.uint32))
    bits = np.repeat(bits, [len(outline) for outline in outlines])
    middle = np.arange(height) * _SUBPIXEL + _SUBPIXEL // 2
    edge, row = np.nonzero((y0[:, None] <= middle) != (y1[:, None] <= middle))
    run, rise = (x1 - x0)[edge], (y1 - y0)[edge]
    x = x0[edge] - (y0[edge] - middle[row]) * run // rise  # rounded up
    column = np.clip((x + _SUBPIXEL // 2 - 1) // _SUBPIXEL, 0, width)
    toggles = np.zeros((height, width + 1), np.uint32)
    np.bitwise_xor.at(toggles, (row, column), bits[edge])
    inside = np.bitwise_xor.accumulate(toggles[:, :width], axis=1)
    layer = np.zeros(size, np.uint8)
    for k, value in enumerate(values):
        layer[inside >> k & 1 == 1] = value
    return layer
