"""Writes the synthetic scenes as a VOC devkit tree."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import cv2
from PIL import Image

from wsss_plugins.datasets.synthetic.scene import Scene, render_scene
from wsss_plugins.datasets.synthetic.spec import SyntheticSpec
from wsss_plugins.errors import DataError
from wsss_plugins.structures import (
    atomic_path,
    load_json,
    save_json,
    save_label_map,
)

VERSION = 1
"""Version, increased whenever the same parameters would give other pixels."""

Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]


def write_devkit(
    out: Path | str,
    spec: SyntheticSpec,
    train: int,
    val: int,
    workers: int = 2,
    progress: Progress | None = None,
) -> bool:
    """Writes ``out/VOC2012``: images, masks, annotations, id lists, class names.

    The parameters lie in ``incomplete.json`` while scenes are written and, with a hash
    of the label maps, in ``complete.json`` at the end. A complete folder is left as it
    is, an interrupted one is written again from the start.

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
        DataError: The folder holds other files, or a number is out of range.
    """
    if min(train, val, workers) < 1:
        raise DataError(
            f'{train} training images, {val} validation images and {workers} workers '
            'were asked for: choose at least one of each'
        )
    root = Path(out) / 'VOC2012'
    record = _record(spec, train, val)
    if _is_complete(root, record):
        return False
    save_json(root / 'incomplete.json', record)
    ids = [('train', i) for i in range(train)] + [('val', i) for i in range(val)]
    drawn: Iterable[tuple[str, Scene, bytes]] = _draw_scenes(spec, ids, workers)
    if progress is not None:
        drawn = progress(drawn, 'synthetic scenes', len(ids))
    digest, labels = hashlib.sha256(), dict[str, set[str]]()
    for name, scene, jpeg in drawn:
        _save(root / 'JPEGImages' / f'{name}.jpg', jpeg)
        save_label_map(root / 'SegmentationClass' / f'{name}.png', scene.label)
        save_label_map(root / 'SegmentationObject' / f'{name}.png', scene.number)
        _save(root / 'Annotations' / f'{name}.xml', _annotation(name, scene).encode())
        digest.update(scene.label.tobytes())
        labels[name] = {found.name for found in scene.objects}
    _write_lists(root, labels, spec.classes)
    save_json(root / 'complete.json', {**record, 'labels_sha256': digest.hexdigest()})
    (root / 'incomplete.json').unlink()
    return True


def _record(spec: SyntheticSpec, train: int, val: int) -> dict[str, Any]:
    record = {'version': VERSION, 'train': train, 'val': val, **asdict(spec)}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in record.items()}


def _is_complete(root: Path, record: dict[str, Any]) -> bool:
    """Whether the folder holds this very data set; refuses to overwrite another."""
    complete = root / 'complete.json'
    for path in (complete, root / 'incomplete.json'):
        if path.exists():
            found = load_json(path)
            other = [key for key in record if found.get(key) != record[key]]
            if other:
                raise DataError(
                    f'{root} holds a synthetic data set with {other[0]} '
                    f'{found.get(other[0])}, not {record[other[0]]}: choose another '
                    'folder, or delete this one'
                )
            return path == complete
    if root.is_dir() and any(root.iterdir()):
        raise DataError(
            f'{root} holds files that are no synthetic data set: choose another folder'
        )
    return False


def _draw_scenes(
    spec: SyntheticSpec, ids: list[tuple[str, int]], workers: int
) -> Iterator[tuple[str, Scene, bytes]]:
    draw = partial(_draw_scene, spec)
    if workers == 1:
        yield from map(draw, ids)
        return
    with ProcessPoolExecutor(
        workers, initializer=cv2.setNumThreads, initargs=(0,)
    ) as pool:
        yield from pool.map(draw, ids, chunksize=16)


def _draw_scene(spec: SyntheticSpec, at: tuple[str, int]) -> tuple[str, Scene, bytes]:
    scene = render_scene(spec, *at)
    buffer = io.BytesIO()
    # No chroma subsampling: at 64 px it would wash out the heads.
    Image.fromarray(scene.image).save(buffer, 'JPEG', quality=95, subsampling=0)
    return f'{at[0]}_{at[1]:06d}', scene, buffer.getvalue()


def _save(path: Path, content: bytes) -> None:
    with atomic_path(path) as part:
        part.write_bytes(content)


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


def _write_lists(
    root: Path, labels: dict[str, set[str]], classes: tuple[str, ...]
) -> None:
    splits = {s: [n for n in labels if n.startswith(s)] for s in ('train', 'val')}
    splits['trainval'] = list(labels)
    for split, names in splits.items():
        listing = ''.join(f'{name}\n' for name in names).encode()
        _save(root / 'ImageSets/Segmentation' / f'{split}.txt', listing)
        _save(root / 'ImageSets/Main' / f'{split}.txt', listing)
        for c in classes:
            marks = (f'{name} {1 if c in labels[name] else -1:2d}\n' for name in names)
            _save(root / 'ImageSets/Main' / f'{c}_{split}.txt', ''.join(marks).encode())
    listing_of_classes = ''.join(f'{c}\n' for c in classes)
    _save(root / 'classes.txt', listing_of_classes.encode())
