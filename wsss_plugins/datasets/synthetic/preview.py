"""A contact sheet of synthetic scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from wsss_plugins.datasets.synthetic.scene import render
from wsss_plugins.datasets.synthetic.spec import SyntheticSpec
from wsss_plugins.structures import atomic_path, voc_palette


def save_preview(
    path: Path | str,
    spec: SyntheticSpec,
    rows: int = 5,
    columns: int = 8,
    zoom: int = 2,
) -> None:
    """Writes the first training images, each beside its label map, as one picture."""
    palette = voc_palette()
    pairs = [render(spec, 'train', index) for index in range(rows * columns)]
    tiles = np.stack([np.hstack([image, palette[label]]) for image, label in pairs])
    tiles = tiles.reshape(rows, columns, *tiles.shape[1:])
    sheet = np.concatenate(np.concatenate(tiles, axis=1), axis=1)
    sheet = sheet.repeat(zoom, 0).repeat(zoom, 1)
    with atomic_path(path) as part:
        Image.fromarray(sheet).save(part, format='PNG')
