"""Reads the JSON of labelme."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from wsss_plugins.datasets.annotations.marked import (
    Annotation,
    Draw,
    Marked,
    is_ignored,
)
from wsss_plugins.datasets.annotations.shapes import (
    box,
    disc,
    picture,
    points,
    polygons,
)
from wsss_plugins.errors import DataError
from wsss_plugins.structures import load_json

PLACES = ('point', 'points', 'line', 'linestrip')
"""Kinds that say where an object is and not how far it reaches."""
KINDS = ('polygon', 'oriented_rectangle', 'rectangle', 'circle', 'mask', *PLACES)


def read_labelme(path: Path, name: str) -> Annotation:
    """Reads the annotation of one photo.

    Args:
        path: The JSON file.
        name: Its path below the folder of annotations, without suffix.

    Raises:
        DataError: The file is no annotation of labelme, or a shape in it cannot be drawn;
            the message names it.
    """
    content = load_json(path)
    shapes = content.get('shapes') if isinstance(content, Mapping) else None
    if not isinstance(shapes, list):
        raise DataError(
            f"{path} has no list 'shapes', as JSON of labelme has: move it out of the "
            'folder if it is another file'
        )
    _refuse_flags_alone(content, path)
    objects = []
    for i, item in enumerate(shapes, 1):
        where = f'{path}: shape {i}'
        label = item.get('label') if isinstance(item, Mapping) else None
        if not isinstance(label, str) or not label.strip():
            raise DataError(f'{where} has no label')
        try:
            objects.append(_object(item, ' '.join(label.split())))
        except DataError as error:
            raise DataError(f'{where} ({label}): {error}') from error
    written = content.get('imagePath')
    own = PurePosixPath(str(written or '').replace('\\', '/')).name
    folder = PurePosixPath(name).parent
    photos = [name] + ([(folder / own).as_posix()] if own else [])
    sides = [content.get(key) for key in ('imageHeight', 'imageWidth')]
    size = None
    if all(isinstance(side, int) and side > 0 for side in sides):
        size = (int(sides[0]), int(sides[1]))
    return Annotation(tuple(photos), str(path), tuple(objects), size)


def _refuse_flags_alone(content: Mapping[str, Any], path: Path) -> None:
    """Refuses flags of a photo without shapes, which would become one without tags."""
    flags = content.get('flags')
    said = [str(k) for k, v in flags.items() if v] if isinstance(flags, Mapping) else []
    if said and not content['shapes']:
        raise DataError(
            f"{path} has no shapes but the flag '{said[0]}', and flags are not read: mark "
            'the object (a point will do), or remove the flag if the photo shows none'
        )


def _object(item: Mapping[str, Any], name: str) -> Marked:
    """One shape."""
    kind = item.get('shape_type') or 'polygon'
    if kind not in KINDS:
        raise DataError(
            f'its kind is {kind!r}: known are {", ".join(KINDS)}; draw it as a polygon'
        )
    shape: Draw | None = None
    extent: Draw | None = None
    given = item.get('points')
    if kind in ('polygon', 'oriented_rectangle'):
        shape = polygons([points(given, least=3)])
    elif kind == 'rectangle':
        extent = box(points(given, least=2))
    elif kind == 'circle':
        middle, edge = points(given, least=2)[:2]
        shape = disc(middle, edge)
    elif kind == 'mask':
        shape = picture(str(item.get('mask')), points(given, least=1)[0])
    ignored = is_ignored(name)
    return Marked(name, shape or (extent if ignored else None), extent, ignored)
