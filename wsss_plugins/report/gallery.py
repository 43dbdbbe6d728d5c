"""The pictures of the report, arranged: a card for each image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.report.markup import number, tag, words
from wsss_plugins.structures import IGNORE, Seed, load_label_map, voc_palette
from wsss_plugins.structures.layout import label_path, seed_path
from wsss_plugins.structures.pictures import (
    CRISP,
    data_uri,
    heat_picture,
    label_picture,
    photo_picture,
)


@dataclass(frozen=True)
class LabelLayer:
    """Label maps to show beside the ground truth.

    Attributes:
        title: Such as ``'pseudo label'``.
        folder: The stage that wrote them.
        mious: mIoU of each image by id, in percent.
    """

    title: str
    folder: Path
    mious: dict[str, float]


@dataclass(frozen=True)
class Album:
    """The images of one data set and all that can be shown of them.

    Attributes:
        dataset: With ground truth where there is any.
        layers: Label maps.
        heads: Folder of each seed stage, by the name of its head.
        chosen: The head of which every class is shown.
    """

    dataset: WSSSDataset
    layers: Sequence[LabelLayer]
    heads: dict[str, Path] = field(default_factory=dict)
    chosen: str | None = None

    def spread(self, count: int) -> list[str]:
        """Ids of ``count`` images, evenly spaced through the data set."""
        ids = self.dataset.ids
        places = np.linspace(0, len(ids) - 1, min(count, len(ids)))
        return [ids[round(place)] for place in places]

    def extremes(self, layer: LabelLayer) -> tuple[list[str], list[str]]:
        """Ids of the worst and the best images; images without a class are left out."""
        mious = {name: layer.mious.get(name) for name in self.dataset.ids}
        labelled = {
            name: miou
            for i, (name, miou) in enumerate(mious.items())
            if self.dataset.labels(i).any()
        }
        return extremes(labelled or mious)

    def cards(self, ids: Iterable[str]) -> list[str]:
        """A card for each image: photo, ground truth if any, seeds and label maps.

        Raises:
            DataError: A seed or label map is missing.
        """
        index_of = {name: i for i, name in enumerate(self.dataset.ids)}
        return [self._card(index_of[name], name) for name in ids]

    def _card(self, index: int, name: str) -> str:
        photo, truth = self.dataset.load_image(index), None
        present = np.flatnonzero(self.dataset.labels(index)).tolist()
        maps: dict[str, np.ndarray] = {}
        notes = {'ground truth': ''}
        if self.dataset.label_map_folder is not None:
            maps['ground truth'] = truth = self.dataset.load_mask(index)
        names = self.dataset.metainfo['classes']
        for layer in self.layers:
            path = label_path(layer.folder, name)
            maps[layer.title] = load_label_map(path, len(names))
            notes[layer.title] = number(layer.mious.get(name)) if layer.mious else ''
        labels = [
            label_tile(m, title, name, names, notes[title]) for title, m in maps.items()
        ]
        first = tile(photo_picture(photo), 'photo', f'photo {name}')
        seeds, others = self._seeds(photo, name, truth, present)
        content = tag(
            'h3', tag('code', escape(name)), class_chips(names, maps.values())
        )
        known = 0 if truth is None else 1
        tiles = ''.join([first, *labels[:known], *seeds, *labels[known:]])
        columns = f'--n:{max(1 + len(labels) + len(seeds), len(others))}'
        content += tag('div', tiles, class_='tiles', style=columns)
        if others:
            content += tag('div', *others, class_='tiles more', style=columns)
        return tag('article', content, class_='card')

    def _seeds(
        self,
        photo: np.ndarray,
        name: str,
        truth: np.ndarray | None,
        present: Sequence[int],
    ) -> tuple[list[str], list[str]]:
        """Heat maps: every class of the chosen head, the largest of the others."""
        if not present:
            return [], []
        largest = present[0]
        if truth is not None:
            largest = max(present, key=lambda c: int((truth == c + 1).sum()))
        chosen: list[str] = []
        others: list[str] = []
        for head, folder in self.heads.items():
            seed = Seed.load(seed_path(folder, name))
            of = dict(zip(seed.classes.tolist(), seed.scores.numpy(), strict=True))
            for c in present if head == self.chosen else [largest]:
                if c in of:
                    title = f'{head}: {self.dataset.foreground_classes[c]}'
                    picture = heat_picture(photo, of[c])
                    one = tile(picture, title, f'heat map of {title} in {name}')
                    (chosen if head == self.chosen else others).append(one)
        return chosen, others


def class_chips(classes: Sequence[str], maps: Iterable[np.ndarray]) -> str:
    """The colours of the classes that label maps show.

    Args:
        classes: Names of all classes, background first.
        maps: ``(H, W)`` uint8 each.

    Returns:
        A ``span`` for each class but the background.
    """
    items, palette = '', voc_palette()
    labels = [np.unique(m) for m in maps]
    found = np.concatenate(labels) if labels else np.zeros(0, np.uint8)
    for value, title in names_in(classes, found).items():
        colour = '#' + ''.join(f'{channel:02x}' for channel in palette[value])
        sample = tag('span', class_='swatch', style=f'background:{colour}')
        items += tag('span', sample, escape(title), class_='chip')
    return items


def names_in(classes: Sequence[str], labels: np.ndarray) -> dict[int, str]:
    """Names of the labels that occur, by label, without the background."""
    return {
        int(v): 'not counted' if v == IGNORE else classes[v]
        for v in np.unique(labels)
        if v != 0
    }


def label_tile(
    label_map: np.ndarray, title: str, name: str, classes: Sequence[str], note: str = ''
) -> str:
    """A label map as a :func:`tile`.

    Args:
        label_map: ``(H, W)`` uint8.
        title: Its caption.
        name: Id of the image.
        classes: Names of all classes, background first.
        note: A number behind the caption, bold.
    """
    shown = ', '.join(names_in(classes, label_map).values()) or 'background'
    return tile(label_picture(label_map), title, f'{title} of {name}: {shown}', note)


def tile(image: Image.Image, title: str, alt: str, note: str = '') -> str:
    """A picture with its caption.

    Args:
        image: The picture.
        title: Its caption.
        alt: What it shows, for those who cannot see it.
        note: A number behind the caption, bold.

    Returns:
        A ``figure``.
    """
    kinds = ['crisp'] if max(image.size) <= CRISP else []
    kinds += ['map'] if image.mode == 'P' else []
    picture = tag(
        'img',
        src=data_uri(image),
        alt=alt,
        width=image.width,
        height=image.height,
        class_=' '.join(kinds) or None,
    )
    caption = words(title) + (f' {tag("b", escape(note))}' if note else '')
    return tag('figure', picture, tag('figcaption', caption))


def extremes(
    mious: Mapping[str, float | None], count: int = 4
) -> tuple[list[str], list[str]]:
    """The ids of the worst and of the best images, no image in both.

    Args:
        mious: mIoU of each image by id; an image without a number is left out.
        count: How many of each, at most.

    Returns:
        Worst, the worst first; best, the best first.
    """
    known = {
        name: v for name, v in mious.items() if v is not None and not math.isnan(v)
    }
    ranked = sorted(known, key=lambda name: known[name])
    worst = ranked[: min(count, (len(ranked) + 1) // 2)]
    best = ranked[len(worst) :][-count:]
    return worst, best[::-1]
