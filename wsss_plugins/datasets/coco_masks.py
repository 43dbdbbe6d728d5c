"""Label maps from the polygons of COCO, for evaluation only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wsss_plugins.datasets.coco14 import (
    COCO_CLASS_OF,
    instances_file,
    load_instances,
)
from wsss_plugins.datasets.files import check_ids
from wsss_plugins.errors import DataError
from wsss_plugins.progress import track
from wsss_plugins.structures import IGNORE, save_label_map
from wsss_plugins.structures.run_lengths import mask_of_lengths, run_lengths

FARTHEST = 1e6
"""Coordinate in pixels beyond which no corner lies; drawing would need gigabytes."""
SHIFT = 4
"""Polygon corners are drawn to 1 / 2**SHIFT of a pixel."""


def rasterise(
    annotations: Iterable[Mapping[str, Any]], size: tuple[int, int]
) -> np.ndarray:
    """Paints the annotations of one image into one label map.

    Three choices, as COCO's instances overlap and label maps do not: larger
    areas are painted first, so that small objects stay on top; crowds are
    ignored (255), but objects marked inside them count; a pixel belongs to a
    polygon when the polygon covers or touches it. An annotation without polygons
    shows where an object is but not its shape, so the pixels of its box are ignored.

    Args:
        annotations: With ``category_id``, ``segmentation``, ``area`` and perhaps
            ``iscrowd`` and ``bbox``.
        size: ``(H, W)`` of the image.

    Returns:
        ``(H, W)`` uint8: 0 background, c + 1 class c, 255 ignored.

    Raises:
        DataError: A run-length code is of another size, or an annotation has neither
            polygons nor a box.
    """
    label_map = np.zeros(size, np.uint8)
    order = sorted(annotations, key=lambda a: (not _is_ignored(a), -a['area']))
    for item in order:
        value = IGNORE if _is_ignored(item) else COCO_CLASS_OF[item['category_id']] + 1
        if not _has_shape(item):
            _fill_box(label_map, item)
        elif isinstance(item['segmentation'], Mapping):
            label_map[decode_rle(item['segmentation'], size)] = value
        else:
            _fill(label_map, item['segmentation'], value)
    return label_map


def _is_ignored(item: Mapping[str, Any]) -> bool:
    """Whether no pixel of an annotation counts: a crowd, or an object without a shape."""
    return bool(item.get('iscrowd', 0)) or not _has_shape(item)


def _has_shape(item: Mapping[str, Any]) -> bool:
    """Whether an annotation has run lengths, or a polygon of three corners or more."""
    shape = item.get('segmentation')
    if isinstance(shape, Mapping):
        return True
    return any(len(polygon) >= 6 for polygon in shape or ())


def _fill_box(label_map: np.ndarray, item: Mapping[str, Any]) -> None:
    """Ignores the pixels that the box of an annotation touches."""
    if len(item.get('bbox') or ()) != 4:
        raise DataError(
            f'annotation {item.get("id", "without id")} has neither polygons nor a box: '
            'draw it again or remove it'
        )
    x, y, width, height = (float(v) for v in item['bbox'])
    rows = slice(max(0, int(y)), max(0, math.ceil(y + height)))
    columns = slice(max(0, int(x)), max(0, math.ceil(x + width)))
    label_map[rows, columns] = IGNORE


def decode_rle(code: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Decodes COCO's run lengths: column by column, beginning with zeros.

    Args:
        code: With ``counts``, a list of run lengths or pycocotools' compressed text, and
            ``size``, ``[H, W]``.
        size: ``(H, W)`` of the image.

    Returns:
        ``(H, W)`` bool.

    Raises:
        DataError: The code is of another size, or is no run-length code.
    """
    try:
        lengths = run_lengths(code['counts'])
    except (TypeError, ValueError) as error:
        raise DataError(
            f'a run-length code is damaged ({error}): repair the file'
        ) from error
    total = sum(lengths)
    if tuple(code['size']) != tuple(size) or total != size[0] * size[1]:
        raise DataError(
            f'a run-length code of size {tuple(code["size"])} with {total} pixels '
            f'does not fit its image of {tuple(size)}: repair the file'
        )
    return mask_of_lengths(lengths, size)


def _fill(label_map: np.ndarray, polygons: Iterable[Any], value: int) -> None:
    """Paints the union of ``polygons``, each ``[x0, y0, x1, y1, ...]`` in pixels."""
    for polygon in polygons:
        # COCO counts from pixel corners, OpenCV from pixel centres.
        corners = np.reshape(polygon, (-1, 2)) - 0.5
        if not (np.abs(corners) < FARTHEST).all():  # NaN neither
            raise DataError(
                f'a polygon has a corner at {corners[0]}: corners are pixels of the photo; '
                'repair the file'
            )
        corners *= 2**SHIFT
        cv2.fillPoly(
            label_map, [np.rint(corners).astype(np.int32)], int(value), shift=SHIFT
        )


_KEPT = (
    'id', 'name', 'image_id', 'category_id', 'file_name', 'height', 'width',
    'segmentation', 'area', 'iscrowd', 'counts', 'size', 'bbox',
)  # fmt: skip


def with_compact_polygons(item: dict[str, Any]) -> dict[str, Any]:
    """Keeps what drawing needs, polygons as arrays; for :func:`load_instances`."""
    slim = {key: item[key] for key in _KEPT if key in item}
    segments = slim.get('segmentation')
    if isinstance(segments, list):
        slim['segmentation'] = [np.asarray(p, np.float32) for p in segments]
    return slim


def by_image(content: Mapping[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """The annotations of each image id that has any."""
    found: dict[int, list[dict[str, Any]]] = {}
    for item in content['annotations']:
        found.setdefault(item['image_id'], []).append(item)
    return found


def draw_label_map(
    image: Mapping[str, Any], annotations: Iterable[Mapping[str, Any]], source: Path
) -> np.ndarray:
    """The label map of one image of an instances file; see :func:`rasterise`.

    Args:
        image: With ``id``, ``height`` and ``width``.
        annotations: Those of the image.
        source: The file, for messages.

    Raises:
        DataError: An annotation cannot be drawn; the message names the image.
    """
    try:
        return rasterise(annotations, (image['height'], image['width']))
    except DataError as error:
        raise DataError(f'{source}: image {image["id"]}: {error}') from error
    except (KeyError, TypeError, ValueError, MemoryError, cv2.error) as error:
        reason = ' '.join(str(error).split())
        raise DataError(
            f'{source}: image {image["id"]} has an annotation that cannot be drawn '
            f'({type(error).__name__}: {reason}): repair the file'
        ) from error


def write_coco_label_maps(
    data_root: Path | str, split: str, out: Path | str | None = None
) -> Path:
    """Writes a ground-truth label map for every image of an instances file.

    Args:
        data_root: The folder with ``annotations/``.
        split: Such as 'val2014'.
        out: Where ``SegmentationClass/<split>/<id>.png`` goes; ``data_root``
            itself by default. The folder's name is what keeps it from training.

    Returns:
        The folder of the PNGs, for ``COCO14(label_maps=...)``.

    Raises:
        DataError: The instances file is missing or damaged.
    """
    source = instances_file(data_root, split)
    content = load_instances(source, keep=with_compact_polygons)
    found = by_image(content)
    folder = Path(data_root if out is None else out) / 'SegmentationClass' / split
    images = content['images']
    check_ids([Path(image['file_name']).stem for image in images], source)
    for image in track(images, 'label maps', total=len(images)):
        label_map = draw_label_map(image, found.get(image['id'], []), source)
        save_label_map(folder / f'{Path(image["file_name"]).stem}.png', label_map)
    return folder
