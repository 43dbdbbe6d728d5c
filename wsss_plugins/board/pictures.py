"""The latest seeds and label maps of a run, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

import numpy as np

from wsss_plugins.board.runs import RUNNING, Run, StageSeen, newest_files
from wsss_plugins.datasets.photos import read_image
from wsss_plugins.engine.model_file import MODEL_FILE
from wsss_plugins.errors import DataError
from wsss_plugins.report.gallery import class_chips, tile
from wsss_plugins.report.markup import section, tag
from wsss_plugins.report.recorded import files_read
from wsss_plugins.structures import IGNORE, Seed, load_json, load_label_map
from wsss_plugins.structures.layout import LABELS, SCORES_FILE, SEEDS
from wsss_plugins.structures.pictures import (
    heat_picture,
    label_picture,
    photo_picture,
)

IMAGES = 6
"""Images of a stage that are shown."""
CLASSES = 3
"""Maps of an image that are shown: those of the first classes."""
KINDS = {SEEDS: '.npz', LABELS: '.png'}


def latest(run: Run) -> str:
    """Section of the newest seeds and label maps.

    Of each kind it shows the stage that runs, or else the one that ended last. Photos are
    those that the record of the stage names, where they are still there.
    """
    content = ''
    names = tuple(class_names(run))
    for kind, suffix in KINDS.items():
        stages = [stage for stage in run.stages if (stage.folder / kind).is_dir()]
        stages.sort(key=lambda stage: stage.state == RUNNING)
        if not stages:
            continue
        stage = stages[-1]
        files = newest_files(stage.folder / kind, suffix, IMAGES)
        photos = files_read(stage.folder, 'photos') if files else {}
        cards = ''.join(
            _card_of(path, photos.get(path.stem), names, _stamp(path)) for path in files
        )
        if cards:
            content += tag(
                'h3', f'The latest {kind}, of ', tag('code', escape(stage.name))
            )
            content += tag('div', cards, class_='cards small')
    return section('latest', 'Latest pictures', content)


def class_names(run: Run) -> list[str]:
    """Names of the classes, background first, of a score or a trained model of the run."""
    for stage in run.stages:
        for file, first in ((SCORES_FILE, []), (MODEL_FILE, ['background'])):
            found = _classes_in(stage, file)
            if found:
                return [*first, *found]
    return []


def _classes_in(stage: StageSeen, file: str) -> list[str]:
    try:
        content = load_json(stage.folder / file)
    except (DataError, OSError):
        return []
    found = content.get('classes') if isinstance(content, dict) else None
    return [str(name) for name in found] if isinstance(found, list) else []


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(64)
def _card_of(path: Path, photo: Path | None, names: tuple[str, ...], stamp: int) -> str:
    """The card of one image, made once for each time that the file was written."""
    try:
        tiles, shown = _tiles(path, photo, names)
    except DataError:
        return ''  # it is being written, or damaged; the stage that reads it says so
    head = tag('h3', tag('code', escape(path.stem)), shown)
    return tag('article', head, tag('div', *tiles, class_='tiles'), class_='card')


def _tiles(
    path: Path, photo: Path | None, names: Sequence[str]
) -> tuple[list[str], str]:
    """Pictures of a seed or a label map, and the colours of its classes."""
    pixels = _photo(photo)
    first = (
        []
        if pixels is None
        else [tile(photo_picture(pixels), 'photo', f'photo {path.stem}')]
    )
    if path.suffix == KINDS[LABELS]:
        label_map = load_label_map(path)
        known = [*names, *(f'class {i}' for i in range(len(names), IGNORE))]
        picture = tile(
            label_picture(label_map), 'label map', f'label map of {path.stem}'
        )
        return [*first, picture], class_chips(known, [label_map])
    seed = Seed.load(path)
    ground = np.zeros((*seed.size, 3), np.uint8) if pixels is None else pixels
    maps = []
    for c, scores in list(zip(seed.classes.tolist(), seed.scores, strict=True))[
        :CLASSES
    ]:
        name = names[c + 1] if c + 1 < len(names) else f'class {c}'
        heat = heat_picture(ground, scores.numpy())
        maps.append(tile(heat, name, f'map of {name} in {path.stem}'))
    return [*first, *maps], ''


def _photo(path: Path | None) -> np.ndarray | None:
    """The pixels of a photo; None where it cannot be read any more."""
    try:
        return None if path is None else read_image(path)
    except DataError:
        return None
