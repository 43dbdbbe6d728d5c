"""The same objects in the files of each annotation tool, for round trips."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import save_image

from wsss_plugins.datasets.preparation import prepare_labels
from wsss_plugins.errors import DataError

SIZE = (20, 30)
Shape = tuple[str, list[tuple[float, float]]]
"""A class and the corners of a polygon, x and y."""

BIRD: Shape = ('bird', [(2, 3), (12, 3), (12, 13), (2, 13)])
NEST: Shape = ('nest', [(8, 8), (28, 8), (28, 18), (8, 18)])
SMALL: Shape = ('bird', [(20, 10), (24, 10), (24, 12), (20, 12)])
PHOTOS: dict[str, list[Shape]] = {
    'day 1/a.jpg': [BIRD],
    'day 1/b.png': [NEST, BIRD, SMALL],
    'Möwe.jpg': [('Möwe, jung', [(0, 0), (30, 0), (30, 20), (0, 20)])],
    'nothing.jpg': [],
}
CLASSES = ('nest', 'bird', 'Möwe, jung')


def write_photos(folder: Path, photos: Mapping[str, Any] = PHOTOS) -> Path:
    """Photos of noise."""
    for i, name in enumerate(photos):
        save_image(folder / name, i, SIZE)
    return folder


def expected(shapes: Sequence[Shape], classes: Sequence[str]) -> np.ndarray:
    """The label map of rectangles with whole corners; small ones on top."""
    mask = np.zeros(SIZE, np.uint8)

    def area(shape: Shape) -> float:
        x, y = np.array(shape[1]).T
        return -float(np.ptp(x) * np.ptp(y))

    for name, corners in sorted(shapes, key=area):
        (left, top), (right, bottom) = np.min(corners, 0), np.max(corners, 0)
        mask[int(top) : int(bottom), int(left) : int(right)] = 1 + classes.index(name)
    return mask


def _box(corners: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    low, high = np.min(corners, 0), np.max(corners, 0)
    return tuple(float(v) for v in (*low, *high))


def write_coco(folder: Path, photos: Mapping[str, list[Shape]] = PHOTOS) -> Path:
    """One JSON file; ids with gaps, categories that nothing shows."""
    ids = {'nest': 3, 'bird': 17, 'Möwe, jung': 90}
    images, annotations = [], []
    for i, (name, shapes) in enumerate(photos.items()):
        images.append(dict(id=7 * i, file_name=name, height=SIZE[0], width=SIZE[1]))
        for title, corners in shapes:
            left, top, right, bottom = _box(corners)
            annotations.append(
                dict(
                    id=len(annotations),
                    image_id=7 * i,
                    category_id=ids[title],
                    iscrowd=0,
                    bbox=[left, top, right - left, bottom - top],
                    area=(right - left) * (bottom - top),
                    segmentation=[[v for corner in corners for v in corner]],
                )
            )
    categories = [dict(id=v, name=k, supercategory='x') for k, v in ids.items()]
    categories.insert(0, dict(id=0, name='animals', supercategory='none'))
    content = dict(info={}, images=images, annotations=annotations)
    path = folder / 'annotations.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | dict(categories=categories)), 'utf-8')
    return path


def write_labelme(folder: Path, photos: Mapping[str, list[Shape]] = PHOTOS) -> Path:
    """A JSON file for each photo, in the same sub-folders."""
    for name, shapes in photos.items():
        path = folder / Path(name).with_suffix('.json')
        path.parent.mkdir(parents=True, exist_ok=True)
        found = [
            dict(label=title, points=corners, shape_type='polygon', flags={})
            for title, corners in shapes
        ]
        content = dict(
            version='5.4.1',
            flags={},
            shapes=found,
            imagePath=f'..\\{Path(name).name}',
            imageData=None,
            imageHeight=SIZE[0],
            imageWidth=SIZE[1],
        )
        path.write_text(json.dumps(content), 'utf-8')
    return folder


def write_voc(folder: Path, photos: Mapping[str, list[Shape]] = PHOTOS) -> Path:
    """XML with polygons as Roboflow writes them, and boxes."""
    for name, shapes in photos.items():
        path = folder / Path(name).with_suffix('.xml')
        path.parent.mkdir(parents=True, exist_ok=True)
        objects = ''
        for title, corners in shapes:
            points = ''.join(
                f'<x{i}>{x}</x{i}><y{i}>{y}</y{i}>'
                for i, (x, y) in enumerate(corners, 1)
            )
            sides = zip(('xmin', 'ymin', 'xmax', 'ymax'), _box(corners), strict=True)
            box = ''.join(f'<{side}>{v}</{side}>' for side, v in sides)
            objects += (
                f'<object><name>{title}</name><polygon>{points}</polygon>'
                f'<bndbox>{box}</bndbox></object>'
            )
        size = f'<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></size>'
        head = f'<folder>x</folder><filename>{Path(name).name}</filename>{size}'
        path.write_text(f'<annotation>{head}{objects}</annotation>', 'utf-8')
    return folder


def write_yolo(folder: Path, photos: Mapping[str, list[Shape]] = PHOTOS) -> Path:
    """A text file for each photo, with polygons; names beside them."""
    for name, shapes in photos.items():
        path = folder / Path(name).with_suffix('.txt')
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            ' '.join(
                [str(CLASSES.index(title))]
                + [f'{x / SIZE[1]:.8f} {y / SIZE[0]:.8f}' for x, y in corners]
            )
            for title, corners in shapes
        ]
        path.write_text('\n'.join(lines), 'utf-8')
    (folder / 'classes.txt').write_text('\n'.join(CLASSES), 'utf-8')
    return folder


WRITERS: dict[str, Callable[..., Path]] = {
    'coco': write_coco,
    'labelme': write_labelme,
    'voc': write_voc,
    'yolo': write_yolo,
}


def picture(pixels: np.ndarray) -> str:
    """A mask as labelme keeps it: a PNG in base64."""
    data = io.BytesIO()
    Image.fromarray((pixels * 255).astype(np.uint8)).save(data, 'PNG')
    return base64.b64encode(data.getvalue()).decode()


def refusal(*arguments: Any, **options: Any) -> str:
    """Prepares labels that must be refused; the one line it says."""
    with pytest.raises(DataError) as caught:
        prepare_labels(*arguments, **options)
    assert '\n' not in str(caught.value)
    return str(caught.value)
