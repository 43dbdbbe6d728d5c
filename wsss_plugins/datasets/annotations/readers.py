"""The readers of annotations by format, each from the files of one source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wsss_plugins.datasets.annotations.coco import read_coco
from wsss_plugins.datasets.annotations.labelme import read_labelme
from wsss_plugins.datasets.annotations.marked import Annotation
from wsss_plugins.datasets.annotations.voc import read_voc
from wsss_plugins.datasets.annotations.yolo import LISTS, class_names, read_yolo
from wsss_plugins.errors import DataError
from wsss_plugins.progress import track

FORMATS = {'coco': '.json', 'voc': '.xml', 'labelme': '.json', 'yolo': '.txt'}
"""Suffix of the files of each format."""


@dataclass(frozen=True)
class Source:
    """What was read of one source.

    Attributes:
        annotations: One for each photo.
        classes: Names of the classes in the order of the format; empty where it has none.
        digest: Hash of all files that were read.
    """

    annotations: tuple[Annotation, ...]
    classes: tuple[str, ...]
    digest: str


def read_annotations(format: str, path: Path, names: Path | None = None) -> Source:
    """Reads the annotations of photos.

    Args:
        format: One of :data:`FORMATS`.
        path: The JSON file for 'coco'; otherwise the folder of the files, which may have
            sub-folders, or a single file.
        names: For 'yolo': the file with the names of the classes.

    Raises:
        DataError: There are no such files, or one is damaged; the message names the file,
            and the line or object.
    """
    if not path.exists():
        raise DataError(f'{path} does not exist: give the annotations')
    if format == 'coco':
        if path.is_dir():
            known = sorted(p.name for p in path.glob('*.json'))
            raise DataError(
                f'{path} is a folder: give the JSON file of COCO'
                + (f', such as {path / known[0]}' if known else '')
            )
        found, classes = read_coco(path)
        return Source(tuple(found), tuple(classes), _digest([path]))
    read: Callable[[Path, str], Annotation]
    read = read_voc if format == 'voc' else read_labelme
    numbered: list[str] = []
    files = _files(path, FORMATS[format])
    folder = path if path.is_dir() else path.parent
    if format == 'yolo':
        files = [f for f in files if f.name not in LISTS]
        numbered = class_names(folder, names)
        read = partial(read_yolo, classes=numbered)
    if not files:
        raise DataError(f'{path} has no {FORMATS[format]} files: give their folder')
    annotations = [
        read(file, file.relative_to(folder).with_suffix('').as_posix())
        for file in track(files, 'annotations', len(files))
    ]
    return Source(tuple(annotations), tuple(numbered), _digest(files))


def _files(path: Path, suffix: str) -> list[Path]:
    if path.is_file():
        return [path]
    found = (p for p in path.rglob('*') if p.suffix.lower() == suffix)
    return sorted(p for p in found if p.is_file() and not p.name.startswith('.'))


def _digest(files: list[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        total.update(f'{path.name}\0'.encode(errors='surrogateescape'))
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]
