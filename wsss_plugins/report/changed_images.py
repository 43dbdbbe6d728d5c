"""The images that two runs treat differently, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from wsss_plugins.datasets.photos import read_image
from wsss_plugins.errors import DataError, UserError
from wsss_plugins.report.difference import Side, image_mious
from wsss_plugins.report.error_pictures import change_picture
from wsss_plugins.report.gallery import class_chips, label_tile, tile
from wsss_plugins.report.made_labels import MadeLabels, made_labels
from wsss_plugins.report.markup import number, tag
from wsss_plugins.report.recorded import files_read, readers_of, recorded_threshold
from wsss_plugins.structures import IGNORE, load_json, load_label_map
from wsss_plugins.structures.layout import LABELS, SCORES_FILE, SEEDS
from wsss_plugins.structures.pictures import photo_picture

LOOKED_AT = 200
"""Images that are read to find those that changed most, where no measure tells."""


@dataclass(frozen=True)
class Changed:
    """A stage whose label maps or seeds two runs have.

    Attributes:
        stage: Its name.
        measured: The stage that measured its label maps image by image; '' without one.
        labels: The label maps of the first and of the second run.
        classes: Names of the classes, background first.
        photos: Paths of the photos, by the last part of the id.
        masks: Paths of the ground truth.
    """

    stage: str
    measured: str
    labels: tuple[MadeLabels, MadeLabels]
    classes: Sequence[str]
    photos: dict[str, Path]
    masks: dict[str, Path]


def changed_stages(one: Side, other: Side) -> list[Changed]:
    """The stages that made label maps or seeds in both runs and were measured on masks."""
    found = []
    for stage in other.records:
        folders = [side.folder(stage) for side in (one, other)]
        kinds = [[k for k in (LABELS, SEEDS) if (f / k).is_dir()] for f in folders]
        if stage not in one.records or not kinds[0] or kinds[0] != kinds[1]:
            continue
        readers = [r.stage for r in readers_of(folders[1]) if r.stage in one.records]
        scored = [name for name in readers if _classes(other.folder(name))]
        if not scored:
            continue
        classes = _classes(other.folder(scored[0]))
        try:
            labels = [
                made_labels(f, len(classes), recorded_threshold(f)) for f in folders
            ]
        except DataError:
            continue
        measured = [name for name in scored if image_mious(other, name)]
        places = [folders[1], *(other.folder(name) for name in readers)]
        found.append(
            Changed(
                stage,
                measured[0] if measured else '',
                (labels[0], labels[1]),
                classes,
                _files(places, 'photos'),
                _files(places, 'masks'),
            )
        )
    return found


def _classes(stage: Path) -> list[str]:
    """Names of the classes that a stage measured; empty where it measured none."""
    try:
        scores = load_json(stage / SCORES_FILE)
    except (DataError, OSError):
        return []
    names = scores.get('classes') if isinstance(scores, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _files(places: Sequence[Path], kind: str) -> dict[str, Path]:
    for place in places:
        found = files_read(place, 'masks' if kind == 'masks' else 'photos')
        if found:
            return found
    return {}


def most_changed(
    changed: Changed, one: Side, other: Side, count: int
) -> dict[str, str]:
    """Ids of the images that changed most, and by how much, in words.

    Where label maps were measured image by image, it is the change of the mIoU of the
    image; else the share of pixels with another label, of at most :data:`LOOKED_AT` images
    that are evenly spaced.
    """
    if changed.measured:
        before, now = (image_mious(side, changed.measured) for side in (one, other))
        steps = {
            n: now[n] - before[n] for n in now if n in before and now[n] != before[n]
        }
        ranked = sorted(steps, key=lambda name: -abs(steps[name]))[:count]
        return {
            n: f'mIoU {number(before[n])} → {number(now[n])} ({steps[n]:+.1f})'
            for n in ranked
        }
    names = _shared(changed)
    places = np.linspace(0, len(names) - 1, min(LOOKED_AT, len(names))).round()
    shares = {}
    for name in dict.fromkeys(names[int(place)] for place in places):
        try:
            maps = [labels.load(name) for labels in changed.labels]
        except (DataError, UserError):
            continue
        if maps[0].shape == maps[1].shape:
            shares[name] = 100 * float((maps[0] != maps[1]).mean())
    ranked = sorted(shares, key=lambda name: -shares[name])[:count]
    return {n: f'{number(shares[n])} % of the pixels' for n in ranked if shares[n] > 0}


def _shared(changed: Changed) -> list[str]:
    """Ids of the images that both runs have."""
    found = []
    for labels in changed.labels:
        suffix = '.npz' if labels.seeds else '.png'
        paths = labels.folder.rglob(f'*{suffix}')
        found.append(
            {
                path.relative_to(labels.folder).as_posix().removesuffix(suffix)
                for path in paths
                if not path.name.startswith('.')
            }
        )
    return sorted(found[0] & found[1])


def cards(changed: Changed, notes: dict[str, str], titles: Sequence[str]) -> list[str]:
    """A card for each image: photo, ground truth, both label maps and what changed.

    Args:
        changed: The stage.
        notes: What to say of each image, by id.
        titles: What to call the two runs.
    """
    made = []
    for name, note in notes.items():
        try:
            made.append(_card(changed, name, note, titles))
        except (DataError, UserError) as error:
            said = f'{name} cannot be shown: {error}'
            made.append(tag('p', escape(said), class_='note'))
    return made


def _card(changed: Changed, name: str, note: str, titles: Sequence[str]) -> str:
    before, after = (labels.load(name) for labels in changed.labels)
    last = Path(name).name
    photo = read_image(changed.photos[last]) if last in changed.photos else None
    truth = load_label_map(changed.masks[last]) if last in changed.masks else None
    tiles = (
        [] if photo is None else [tile(photo_picture(photo), 'photo', f'photo {name}')]
    )
    maps = {'ground truth': truth, titles[0]: before, titles[1]: after}
    shown = {title: m for title, m in maps.items() if m is not None}
    known = [
        *changed.classes,
        *(f'class {i}' for i in range(len(changed.classes), IGNORE)),
    ]
    tiles += [label_tile(m, title, name, known) for title, m in shown.items()]
    ground = np.zeros((*after.shape, 3), np.uint8) if photo is None else photo
    if before.shape == after.shape == ground.shape[:2]:
        picture = change_picture(ground, truth, before, after)
        tiles.append(tile(picture, 'changes', f'changes of {name}'))
    head = tag(
        'h3',
        tag('code', escape(name)),
        tag('b', escape(note)),
        class_chips(known, shown.values()),
    )
    return tag('article', head, tag('div', *tiles, class_='tiles five'), class_='card')
