"""Writes the synthetic scenes as a VOC devkit tree."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import cv2
from PIL import Image

from wsss_plugins.datasets.synthetic.scene import Scene, render_scene
from wsss_plugins.datasets.synthetic.spec import SYNTHETIC_CLASSES, SyntheticSpec
from wsss_plugins.errors import DataError
from wsss_plugins.structures import (
    atomic_path,
    load_json,
    save_json,
    save_label_map,
)

VERSION = 1
"""Raised whenever the same parameters would give other pixels."""

Written = tuple[str, set[str], bytes]
"""Id of a scene, names of its classes, bytes of its label map."""


def write_devkit(
    out: Path | str,
    spec: SyntheticSpec,
    train: int,
    val: int,
    workers: int = 2,
    progress: Callable[[Iterable[Written], str, int], Iterable[Written]] | None = None,
) -> bool:
    """Writes ``out/VOC2012``: images, label maps, annotations, id lists, class names.

    The record ``complete.json`` is written last. A folder that has one with the same
    parameters is left as it is; one without is written again from the start.

    Args:
        out: Folder of the devkit.
        spec: Parameters of the scenes.
        train: Number of training images.
        val: Number of validation images.
        workers: Processes that draw; the files are the same for any number.
        progress: Wraps the loop over the scenes, given the iterable, a description and
            the total, as :func:`wsss_plugins.progress.track`.

    Returns:
        False when the folder was complete already.

    Raises:
        DataError: The folder holds a data set of other parameters, or a number is wrong.
    """
    if min(train, val, workers) < 1:
        raise DataError(
            f'{train} training images, {val} validation images and {workers} workers '
            'were asked for: choose at least one of each'
        )
    root = Path(out) / 'VOC2012'
    record = _record(spec, train, val)
    if _is_complete(root / 'complete.json', record):
        return False
    ids = [('train', i) for i in range(train)] + [('val', i) for i in range(val)]
    scenes = _write_scenes(root, spec, ids, workers)
    if progress is not None:
        scenes = progress(scenes, 'synthetic scenes', len(ids))
    digest, labels = hashlib.sha256(), dict[str, set[str]]()
    for name, classes, pixels in scenes:
        digest.update(pixels)
        labels[name] = classes
    _write_lists(root, labels)
    save_json(root / 'complete.json', {**record, 'labels_sha256': digest.hexdigest()})
    return True


def _record(spec: SyntheticSpec, train: int, val: int) -> dict[str, Any]:
    parameters = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(spec).items()}
    return {'version': VERSION, 'train': train, 'val': val, 'spec': parameters}


def _is_complete(path: Path, record: dict[str, Any]) -> bool:
    if not path.exists():
        return False
    found = load_json(path)
    other = [key for key in record if found.get(key) != record[key]]
    if other:
        raise DataError(
            f'{path.parent} holds a synthetic data set of another {" and ".join(other)}: '
            'choose another folder, or delete this one'
        )
    return True


def _write_scenes(
    root: Path, spec: SyntheticSpec, ids: list[tuple[str, int]], workers: int
) -> Iterator[Written]:
    for folder in ('JPEGImages', 'SegmentationClass', 'Annotations'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    tasks = [(root, spec, split, index) for split, index in ids]
    if workers == 1:
        yield from map(_write_scene, tasks)
        return
    with ExitStack() as stack:
        pool = stack.enter_context(
            ProcessPoolExecutor(workers, initializer=cv2.setNumThreads, initargs=(0,))
        )
        stack.callback(pool.shutdown, cancel_futures=True)
        yield from pool.map(_write_scene, tasks, chunksize=16)


def _write_scene(task: tuple[Path, SyntheticSpec, str, int]) -> Written:
    root, spec, split, index = task
    name = f'{split}_{index:06d}'
    scene = render_scene(spec, split, index)
    # No chroma subsampling: at 64 px it would wash out the heads.
    _save(root / 'JPEGImages' / f'{name}.jpg', _jpeg(scene))
    save_label_map(root / 'SegmentationClass' / f'{name}.png', scene.label)
    _save(root / 'Annotations' / f'{name}.xml', _annotation(name, scene).encode())
    return name, {o.name for o in scene.objects}, scene.label.tobytes()


def _save(path: Path, content: bytes) -> None:
    with atomic_path(path) as part:
        part.write_bytes(content)


def _jpeg(scene: Scene) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(scene.image).save(buffer, 'JPEG', quality=95, subsampling=0)
    return buffer.getvalue()


def _annotation(name: str, scene: Scene) -> str:
    height, width = scene.label.shape
    lines = [
        '<annotation>',
        '  <folder>VOC2012</folder>',
        f'  <filename>{name}.jpg</filename>',
        f'  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>',
        '  <segmented>1</segmented>',
    ]
    for found in scene.objects:
        box = zip(('xmin', 'ymin', 'xmax', 'ymax'), found.box, strict=True)
        corners = ''.join(f'<{key}>{value}</{key}>' for key, value in box)
        lines.append(
            f'  <object><name>{escape(found.name)}</name>'
            f'<difficult>0</difficult><bndbox>{corners}</bndbox></object>'
        )
    return '\n'.join([*lines, '</annotation>', ''])


def _write_lists(root: Path, labels: dict[str, set[str]]) -> None:
    splits = {s: [n for n in labels if n.startswith(s)] for s in ('train', 'val')}
    splits['trainval'] = list(labels)
    for split, names in splits.items():
        listing = ''.join(f'{name}\n' for name in names).encode()
        _save(root / 'ImageSets/Segmentation' / f'{split}.txt', listing)
        _save(root / 'ImageSets/Main' / f'{split}.txt', listing)
        for c in SYNTHETIC_CLASSES:
            marks = (f'{name} {1 if c in labels[name] else -1:2d}\n' for name in names)
            _save(root / 'ImageSets/Main' / f'{c}_{split}.txt', ''.join(marks).encode())
    classes = ''.join(f'{c}\n' for c in SYNTHETIC_CLASSES)
    _save(root / 'classes.txt', classes.encode())
