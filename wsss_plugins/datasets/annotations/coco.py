"""Reads COCO JSON of any categories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from wsss_plugins.datasets.annotations.marked import Annotation, Marked
from wsss_plugins.datasets.annotations.shapes import box, points, polygons, run_lengths
from wsss_plugins.datasets.coco_json import load_object
from wsss_plugins.datasets.coco_masks import FARTHEST
from wsss_plugins.errors import DataError

LISTS = ('images', 'annotations', 'categories')
_KEPT = frozenset(
    {*LISTS, 'id', 'name', 'image_id', 'category_id', 'file_name', 'height', 'width'}
    | {'segmentation', 'iscrowd', 'counts', 'size', 'bbox'}
)


def read_coco(path: Path) -> tuple[list[Annotation], list[str]]:
    """Reads an instances file.

    Args:
        path: The JSON file.

    Returns:
        The annotation of every image that it lists, those without objects too, and the
        names of all categories in the order of their ids.

    Raises:
        DataError: The file is not JSON of that form, or an annotation is of an unknown
            category or image, or cannot be drawn; the message names it.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ValueError('it is no file')
        with path.open(encoding='utf-8-sig') as file:
            content = load_object(file, _kept)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f'{path} cannot be read as JSON of COCO ({error})') from error
    for key in LISTS:
        if not isinstance(content.get(key), list):
            raise DataError(
                f"{path} has no list '{key}': JSON of COCO has {', '.join(LISTS)}"
            )
    names = _by_id(content['categories'], f'{path}, categories', 'name')
    images = _by_id(content['images'], f'{path}, images', 'file_name')
    objects: dict[Any, list[Marked]] = defaultdict(list)
    for i, item in enumerate(content['annotations']):
        where = f'{path}, annotation {_id_of(item, i)}'
        if not isinstance(item, Mapping):
            raise DataError(f'{where} is no object')
        for key, known in (('image_id', images), ('category_id', names)):
            if not _is_id(item.get(key)) or item[key] not in known:
                raise DataError(
                    f'{where} has the {key} {item.get(key)!r}, which the file does not '
                    'list: correct it'
                )
        name = names[item['category_id']]['name']
        try:
            objects[item['image_id']].append(_object(item, ' '.join(name.split())))
        except DataError as error:
            raise DataError(f'{where}: {error}') from error
    found = [
        Annotation(
            (_relative(image['file_name']),),
            f'{path}, image {key}',
            tuple(objects[key]),
            _size(image, f'{path}, image {key}'),
        )
        for key, image in images.items()
    ]
    order = sorted(names, key=lambda k: (isinstance(k, str), k))
    return found, [' '.join(names[key]['name'].split()) for key in order]


def _kept(item: dict[str, Any]) -> dict[str, Any]:
    """Keeps what is read of an object; coordinates as arrays, which take less memory."""
    slim = {key: item[key] for key in _KEPT.intersection(item)}
    parts = slim.get('segmentation')
    if isinstance(parts, list):
        slim['segmentation'] = [_compact(part) for part in parts]
    return slim


def _compact(part: Any) -> Any:
    if isinstance(part, list) and all(type(v) in (int, float) for v in part):
        return np.asarray(part, np.float64)
    return part


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def _id_of(item: Any, place: int) -> str:
    """What a message calls an object: its id, or its place in the list from 1."""
    if isinstance(item, Mapping) and _is_id(item.get('id')):
        return str(item['id'])
    return f'number {place + 1}'


def _by_id(items: list[Any], where: str, text: str) -> dict[Any, Mapping[str, Any]]:
    """Objects by their ids, which must be ids that occur once, with a text each."""
    found: dict[Any, Mapping[str, Any]] = {}
    for i, item in enumerate(items):
        if not isinstance(item, Mapping) or not _is_id(item.get('id')):
            raise DataError(f"{where}: number {i + 1} has no 'id'")
        if not isinstance(item.get(text), str) or not item[text].strip():
            raise DataError(f"{where}: id {item['id']} has no '{text}'")
        if item['id'] in found:
            raise DataError(f'{where}: id {item["id"]} is there twice')
        found[item['id']] = item
    return found


def _relative(name: str) -> str:
    """The name of a photo without what leads out of its folder."""
    parts = PurePosixPath(name.replace('\\', '/')).parts
    return '/'.join(p for p in parts if p not in ('/', '..') and not p.endswith(':'))


def _size(image: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    height, width = image.get('height'), image.get('width')
    if not height or not width:
        return None
    if not all(
        isinstance(s, int | float) and 0 < s < FARTHEST for s in (height, width)
    ):
        raise DataError(f'{where} has height {height!r} and width {width!r}')
    return int(height), int(width)


def _object(item: Mapping[str, Any], name: str) -> Marked:
    """One annotation."""
    parts, given = item.get('segmentation'), item.get('bbox')
    extent = None
    if given:
        left, top, width, height = _four(given)
        corners = np.array([[left, top], [left + width, top + height]])
        extent = box(corners)
    shape = None
    if isinstance(parts, Mapping):
        if not {'counts', 'size'} <= set(parts):
            raise DataError("its segmentation has no 'counts' and 'size'")
        shape = run_lengths(parts)
    elif parts:
        if not isinstance(parts, list):
            raise DataError(f'its segmentation is a {type(parts).__name__}')
        whole = [points(part, least=1) for part in parts]
        whole = [part for part in whole if len(part) >= 3]
        shape = polygons(whole) if whole else None
    return Marked(name, shape, extent, ignored=bool(item.get('iscrowd')))


def _four(given: Any) -> list[float]:
    values = points(given, least=2).ravel().tolist()
    if len(values) != 4:
        raise DataError(
            f'its bbox has {len(values)} numbers, not x, y, width and height'
        )
    return [float(v) for v in values]
