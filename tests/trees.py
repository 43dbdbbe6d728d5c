"""Tiny data sets on disk, one builder for each layout; all images are not square."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_plugins.structures import save_label_map

SIZE = (6, 10)


def save_image(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Writes noise; the array is what the file decodes to when it is a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def half_mask(value: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Label ``value`` on the left half, background elsewhere, 255 in the last column."""
    mask = np.zeros(size, np.uint8)
    mask[:, : size[1] // 2] = value
    mask[:, -1] = 255
    return mask


def make_voc(root: Path, objects: dict[str, list[str]], split: str = 'train') -> Path:
    """A devkit tree of ``{id: names of its objects}``; masks show class 1 and 2 by turns."""
    (root / 'ImageSets/Segmentation').mkdir(parents=True)
    (root / 'Annotations').mkdir()
    lines = [f'{name}\n' for name in objects]
    (root / f'ImageSets/Segmentation/{split}.txt').write_text(''.join(lines))
    for i, (name, classes) in enumerate(objects.items()):
        save_image(root / f'JPEGImages/{name}.jpg', i)
        save_label_map(root / f'SegmentationClass/{name}.png', half_mask(1 + i % 2))
        found = ''.join(f'<object><name>{c}</name></object>' for c in classes)
        xml = f'<annotation>{found}</annotation>'
        (root / f'Annotations/{name}.xml').write_text(xml)
    return root


def make_coco(root: Path, images: list[str], annotations: list[dict]) -> Path:
    """``train2014`` with image ids 1, 2, ... and the categories person, bicycle, toothbrush."""
    (root / 'annotations').mkdir(parents=True)
    names = {1: 'person', 2: 'bicycle', 90: 'toothbrush'}
    content = dict(
        images=[
            dict(id=i, file_name=name, height=SIZE[0], width=SIZE[1])
            for i, name in enumerate(images, 1)
        ],
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in names.items()],
    )
    (root / 'annotations/instances_train2014.json').write_text(json.dumps(content))
    for i, name in enumerate(images):
        save_image(root / 'train2014' / name, i)
    return root


def square(category: int, image: int = 1, **more: object) -> dict:
    """An annotation: columns 1 to 4 and rows 1 to 3 of the image."""
    base = dict(image_id=image, category_id=category, area=12, iscrowd=0)
    return {**base, 'segmentation': [[1, 1, 5, 1, 5, 4, 1, 4]], **more}


def make_folder(root: Path, rows: list[tuple[str, str]], split: str = 'train') -> Path:
    """Images and a table of ``(file, tags)``."""
    for i, (name, _) in enumerate(rows):
        save_image(root / 'images' / name, i)
    with (root / f'{split}.csv').open('w', newline='') as file:
        csv.writer(file).writerows([('file', 'tags'), *rows])
    return root
