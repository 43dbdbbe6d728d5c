"""Reads the text files of YOLO: boxes and polygons as fractions of the photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from wsss_plugins.datasets.annotations.marked import Annotation, Marked
from wsss_plugins.datasets.annotations.shapes import box, points, polygons
from wsss_plugins.datasets.files import read_lines, read_whole
from wsss_plugins.errors import DataError

LISTS = ('classes.txt', 'obj.names', 'predefined_classes.txt')
"""Files with a name of a class in each line."""
TABLES = ('data.yaml', 'dataset.yaml', 'data.yml')
"""Files with a key ``names``."""
ABOVE = 3
"""Folders in which the names of the classes are looked for: that of the labels, and above."""
SLACK = 1e-3
"""Excess over [0, 1] that rounding explains."""


def read_yolo(path: Path, name: str, classes: Sequence[str]) -> Annotation:
    """Reads the annotation of one photo.

    Args:
        path: The text file.
        name: Its path below the folder of annotations, without suffix.
        classes: Names of the classes by their numbers.

    Raises:
        DataError: A line is neither a box nor a polygon of a known class; the message
            names file and line.
    """
    try:
        lines = read_whole(path).decode('utf-8-sig').splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f'{path} cannot be read ({error})') from error
    objects = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                objects.append(_object(line.split(), classes))
            except DataError as error:
                raise DataError(f'{path}, line {number}: {error}') from error
    return Annotation((name,), str(path), tuple(objects))


def _object(words: Sequence[str], classes: Sequence[str]) -> Marked:
    """One line: a class and a box, or a class and the corners of a polygon."""
    digits = len(str(len(classes)))
    known = words[0].isdecimal() and len(words[0].lstrip('0')) <= digits
    if not known or int(words[0]) >= len(classes):
        raise DataError(
            f"the class is '{words[0]}': allowed are the numbers 0 to {len(classes) - 1}"
        )
    name = classes[int(words[0])]
    odd = len(words) % 2 and len(words) > 1
    given = points(words[1:], least=1) if odd else None
    if given is None or len(given) < 2:
        raise DataError(
            f'{len(words)} values: a box has 5 (class, x, y, width, height), a polygon a '
            'class and three corners or more; a sixth value is the score of a prediction'
        )
    if given.min() < -SLACK or given.max() > 1 + SLACK:
        raise DataError(
            f'the value {given.min() if given.min() < -SLACK else given.max():g} is '
            'outside [0, 1]: coordinates are fractions of width and height'
        )
    if len(given) > 2:
        return Marked(name, polygons([given], fractions=True))
    middle, half = given[0], given[1] / 2
    corners = np.stack([middle - half, middle + half])
    return Marked(name, extent=box(corners, fractions=True))


def class_names(folder: Path, given: Path | None) -> list[str]:
    """Names of the classes by their numbers.

    Args:
        folder: Folder of the labels.
        given: The file with the names; by default the first of :data:`LISTS` and
            :data:`TABLES` in ``folder`` or above it.

    Raises:
        DataError: There is no such file, or it cannot be read.
    """
    if given is not None:
        return _names_in(given)
    places = [folder, *folder.resolve().parents][: 1 + ABOVE]
    for place in places:
        for name in (*LISTS, *TABLES):
            if (place / name).is_file():
                return _names_in(place / name)
    raise DataError(
        f'{folder} has numbers for classes, and no {", ".join((*LISTS, *TABLES))} there '
        'or above says their names: give a file with a name in each line, --names FILE'
    )


def _names_in(path: Path) -> list[str]:
    if path.suffix not in ('.yaml', '.yml'):
        return read_lines(path)
    try:
        content: Any = yaml.safe_load(path.read_text('utf-8-sig'))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = ' '.join(str(error).split())
        raise DataError(f'{path} cannot be read as YAML ({reason})') from error
    content = content if isinstance(content, Mapping) else {}
    if content.get('kpt_shape'):
        raise DataError(
            f'{path} is of key points (kpt_shape), which are neither boxes nor polygons: '
            'export the labels as detection or segmentation'
        )
    names = content.get('names')
    if isinstance(names, Mapping):
        try:
            numbers = {int(key): value for key, value in names.items()}
        except (TypeError, ValueError) as error:
            raise DataError(f'{path}: a key of names is no number') from error
        if sorted(numbers) != list(range(len(numbers))):
            raise DataError(f'{path}: the numbers of names are not 0, 1, 2 ...')
        names = [numbers[i] for i in range(len(numbers))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path} has no 'names' of classes")
    return [' '.join(str(name).split()) for name in names]
