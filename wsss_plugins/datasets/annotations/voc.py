"""Reads the XML of Pascal VOC, LabelImg, CVAT and Roboflow, of any classes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np

from wsss_plugins.datasets.annotation_xml import read_annotation
from wsss_plugins.datasets.annotations.marked import Annotation, Draw, Marked
from wsss_plugins.datasets.annotations.shapes import box, points, polygons
from wsss_plugins.datasets.files import read_whole
from wsss_plugins.errors import DataError

SIDES = ('xmin', 'ymin', 'xmax', 'ymax')


def read_voc(path: Path, name: str) -> Annotation:
    """Reads one annotation.

    Args:
        path: The XML file.
        name: Its path below the folder of annotations, without suffix.

    Raises:
        DataError: The file is no annotation of VOC; the message names it.
    """
    where = str(path)
    try:
        root = read_annotation(read_whole(path), where)
    except (OSError, ValueError) as error:
        raise DataError(f'{where} cannot be read ({error}): replace it') from error
    if root.tag != 'annotation':
        raise DataError(
            f'{where} begins with <{root.tag}>, an annotation of VOC with <annotation>: '
            'export it as Pascal VOC, one file for each photo'
        )
    objects = []
    for i, item in enumerate(root.iterfind('object'), 1):
        title = ' '.join(item.findtext('name', '').split())
        if not title:
            raise DataError(f'{where}: object {i} has no name')
        try:
            objects.append(Marked(title, _shape(item), _extent(item)))
        except DataError as error:
            raise DataError(f'{where}: object {i} ({title}): {error}') from error
    written = root.findtext('filename', '').strip().replace('\\', '/')
    own = PurePosixPath(written).name
    folder = PurePosixPath(name).parent
    photos = [name] + ([(folder / own).as_posix()] if own else [])
    return Annotation(tuple(photos), where, tuple(objects), _size(root, where))


def _size(root: Element, where: str) -> tuple[int, int] | None:
    """``(H, W)``; some tools write 0, which says nothing."""
    texts = [root.findtext(f'size/{side}', '0').strip() for side in ('height', 'width')]
    try:
        height, width = (int(float(text or 0)) for text in texts)
    except (ValueError, OverflowError) as error:
        raise DataError(f'{where} has the size {" x ".join(texts)}') from error
    return (height, width) if height > 0 and width > 0 else None


def _extent(item: Element) -> Draw | None:
    given = item.find('bndbox')
    if given is None:
        return None
    return box(points([_number(given, side) for side in SIDES], least=2))


def _shape(item: Element) -> Draw | None:
    """A polygon as Roboflow writes it (x1, y1, x2 ...) or LabelMe (pt of x and y)."""
    found = []
    for given in item.iterfind('polygon'):
        pairs = [[_number(pt, 'x'), _number(pt, 'y')] for pt in given.iterfind('pt')]
        count = 1
        while given.find(f'x{count}') is not None:
            pairs.append([_number(given, f'{axis}{count}') for axis in 'xy'])
            count += 1
        found.append(np.asarray(points(pairs, least=3)))
    return polygons(found) if found else None


def _number(item: Element, tag: str) -> float:
    text = item.findtext(tag, '').strip()
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"<{tag}> is '{text}', which is no number") from error
