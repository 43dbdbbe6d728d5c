"""The page on the errors of label maps or seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.metrics.label_errors import KINDS
from wsss_plugins.metrics.regions import SIZES, size_names
from wsss_plugins.report.cards import card_line
from wsss_plugins.report.charts import bar_charts
from wsss_plugins.report.error_pictures import (
    ERROR_COLOURS,
    colour_legend,
    error_picture,
)
from wsss_plugins.report.gallery import class_chips, label_tile, tile
from wsss_plugins.report.made_labels import MadeLabels
from wsss_plugins.report.markup import large_numbers, number, section, table, tag
from wsss_plugins.report.page import page
from wsss_plugins.structures.pictures import photo_picture

Numbers = Mapping[str, float | int | None]

PAIRS = 15
"""Confusions of two classes that the page lists."""
LISTED = 20
"""Images that the table of images lists."""

WORST = {
    'missed': 'Most pixels of objects taken for background',
    'false': 'Most pixels of background taken for objects',
    'confused': 'Most pixels of one class taken for another',
}
"""Heading of the worst images of each kind of error."""


@dataclass(frozen=True)
class ErrorPictures:
    """The photos, masks and label maps of the images that a page shows.

    Attributes:
        dataset: The images, with masks.
        labels: What is examined.
    """

    dataset: WSSSDataset
    labels: MadeLabels

    def cards(self, notes: Mapping[str, str]) -> list[str]:
        """A card for each image: photo, ground truth, label map and its errors.

        Args:
            notes: What to say of each image, by id.
        """
        index_of = {name: i for i, name in enumerate(self.dataset.ids)}
        return [self._card(index_of[name], name, note) for name, note in notes.items()]

    def _card(self, index: int, name: str, note: str) -> str:
        photo, truth = self.dataset.load_image(index), self.dataset.load_mask(index)
        made, classes = self.labels.load(name), self.dataset.metainfo['classes']
        wrong = tile(error_picture(photo, truth, made), 'errors', f'errors in {name}')
        tiles = [
            tile(photo_picture(photo), 'photo', f'photo {name}'),
            label_tile(truth, 'ground truth', name, classes),
            label_tile(made, 'label map', name, classes),
            wrong,
        ]
        head = [tag('code', escape(name)), class_chips(classes, [truth, made])]
        head.append(tag('span', escape(note), class_='chip'))
        return tag(
            'article',
            tag('h3', *head),
            tag('div', *tiles, class_='tiles four'),
            class_='card',
        )


def error_page(
    title: str,
    record: StageRecord | None,
    found: Mapping[str, Any],
    images: Mapping[str, Numbers],
    pictures: ErrorPictures,
    gallery: int,
) -> str:
    """The whole page, without any external resource.

    Args:
        title: Its heading.
        record: Of the stage that made the label maps or seeds, if there is one.
        found: What :meth:`LabelErrors.compute` returned.
        images: The errors of each image by id.
        pictures: Where its pictures come from.
        gallery: How many of the worst images to show of each kind of error.

    Returns:
        An HTML document.
    """
    shown = [each for each in found['per_class'] if each['objects'] or each['regions']]
    shown.sort(key=lambda each: -(each['iou'] or 0.0))
    sections = [
        _overview(found, None if record is None else card_line(record.supervision)),
        _objects(found, shown),
        _outlines(found, shown),
        _classes(found, shown),
        _worst(images, pictures, gallery),
        _images(images),
    ]
    return page(title, '', [] if record is None else [record], sections)


def _overview(found: Mapping[str, Any], card: str | None) -> str:
    pixels, objects, first = found['pixels'], found['objects'], found['boundary'][0]
    large = [
        (number(pixels['wrong']), 'wrong pixels', f'% of {found["images"]} images'),
        (number(pixels['missed']), 'objects as background', '% of all pixels'),
        (number(pixels['false']), 'background as objects', '% of all pixels'),
        (number(pixels['confused']), 'one class for another', '% of all pixels'),
        (number(objects['missed']), 'missed objects', f'% of {objects["objects"]}'),
        (number(objects['false']), 'false objects', f'% of {objects["regions"]}'),
        (
            number(first['wrong']),
            f'wrong within {first["width"]} px',
            '% of the pixels near outlines',
        ),
    ]
    text = (
        'The first number is the sum of the three that follow it. Pixels that the masks '
        'ignore are not counted.'
    )
    return section(
        'overview', 'What is wrong', large_numbers(large), tag('p', text), card or ''
    )


def _objects(found: Mapping[str, Any], shown: Sequence[Mapping[str, Any]]) -> str:
    text = (
        'An object is a connected region of one class in the ground truth, a region one of '
        'the label maps. The share found is that of the pixels of an object, averaged over '
        'objects. Sizes are those of COCO: '
        + ', '.join(f'{name} below {most} px' for name, most in SIZES.items())
        + ', large above.'
    )
    head = ('', '#objects', '#missed %', '#found %', '#regions', '#false %')
    keys = ('missed', 'found', 'regions', 'false')

    def _row(name: str, of: Mapping[str, Any]) -> list[str]:
        cells = [str(of['regions']) if k == 'regions' else number(of[k]) for k in keys]
        return [escape(name), str(of['objects']), *cells]

    by_size = table(
        head,
        [_row(name, of) for name, of in found['sizes'].items()],
        'Objects and regions by their size.',
    )
    by_class = table(
        head,
        [_row(each['class'], each) for each in shown],
        'Objects and regions by class.',
    )
    bars = {
        name: {each['class']: each[f'found_{name}'] for each in shown}
        for name in size_names()
    }
    chart = tag('h3', 'Share of an object that is found, in percent') + bar_charts(bars)
    return section(
        'objects', 'Objects', tag('p', escape(text)), by_size, by_class, chart
    )


def _outlines(found: Mapping[str, Any], shown: Sequence[Mapping[str, Any]]) -> str:
    bands = [
        [
            f'within {each["width"]} px',
            number(each['wrong']),
            number(each['share_of_wrong']),
            number(each['miou']),
        ]
        for each in found['boundary']
    ]
    bands.append(['farther away', number(found['beyond']), '–', '–'])
    widths = [each['width'] for each in found['boundary']]
    by_class = [
        [
            escape(each['class']),
            number(each['iou']),
            *(number(each[f'iou_near_{width}']) for width in widths),
        ]
        for each in shown
    ]
    head = ['', '#wrong %', '#of all wrong pixels %', '#mIoU']
    columns = ['', '#IoU', *(f'#within {width} px' for width in widths)]
    return section(
        'outlines',
        'Outlines',
        tag('p', 'Pixels near an outline of the ground truth are measured alone.'),
        table(head, bands, 'Pixels by their distance from an outline.'),
        table(columns, by_class, 'IoU of each class, also of these pixels alone.'),
    )


def _classes(found: Mapping[str, Any], shown: Sequence[Mapping[str, Any]]) -> str:
    pairs = [
        [
            escape(f'{each["truth"]} → {each["taken_for"]}'),
            number(each['share']),
            str(each['images']),
            number(each['tagged']),
        ]
        for each in found['confusions'][:PAIRS]
    ]
    pair_head = ('taken for', '#of its pixels %', '#images', '#where both are tagged %')
    keys = {
        'as_background': '#as background',
        'as_tagged': '#as a tagged class',
        'as_untagged': '#as another class',
        'on_background': '#on background',
        'on_others': '#on other classes',
        'where_untagged': '#without its tag',
        'iou_alone': '#IoU alone',
        'iou_accompanied': '#IoU with others',
    }
    rows = [[escape(each['class']), *(number(each[k]) for k in keys)] for each in shown]
    for cells, each in zip(rows, shown, strict=True):
        cells.append(number(each['confusion_ratio'], 2))
    caption = (
        'In percent. "As" is the share of the pixels of a class that are taken for '
        'something else, "on" and "without its tag" the share of the pixels of its label '
        'that lie there. IoU alone is over the images whose only image-level label it is. '
        'The last column is false pixels by right ones.'
    )
    text = (
        'Two classes that often occur together are taken for each other where both are '
        'tagged; a label map that shows a class without its tag invents it.'
    )
    return section(
        'classes',
        'Classes taken for each other',
        tag('p', text),
        table(pair_head, pairs, f'The {len(pairs)} largest confusions.')
        if pairs
        else '',
        table(['', *keys.values(), '#false by right'], rows, caption),
    )


def _worst(images: Mapping[str, Numbers], pictures: ErrorPictures, gallery: int) -> str:
    content = colour_legend(ERROR_COLOURS)
    for kind in KINDS:
        names = worst_images(images, kind, gallery)
        notes = {
            name: f'{number(images[name][kind])} % of its pixels, '
            f'mIoU {number(images[name]["miou"])}'
            for name in names
        }
        if notes:
            cards = tag('div', *pictures.cards(notes), class_='cards')
            content += tag('h3', WORST[kind]) + cards
    return section('worst', 'The worst images', content)


def worst_images(images: Mapping[str, Numbers], kind: str, count: int) -> list[str]:
    """Ids of the images with the largest number of one kind, the worst first.

    Args:
        images: The errors of each image by id.
        kind: Name of a number.
        count: How many ids at most. Images whose number is 0 or unknown are left out.
    """
    known = {name: of[kind] for name, of in images.items() if of[kind]}
    return sorted(known, key=lambda name: -float(known[name] or 0))[:count]


def _images(images: Mapping[str, Numbers]) -> str:
    head = {
        'miou': '#mIoU',
        'wrong': '#wrong %',
        'missed': '#missed %',
        'false': '#false %',
        'confused': '#confused %',
        'objects': '#objects',
        'missed_objects': '#missed',
        'false_objects': '#false',
    }
    names = worst_images(images, 'wrong', LISTED)
    rows = [
        [
            tag('code', escape(name)),
            *(number(images[name][k], 0 if 'objects' in k else 1) for k in head),
        ]
        for name in names
    ]
    caption = (
        f'The {len(rows)} images with the most wrong pixels; images.csv beside this page '
        f'has all {len(images)}.'
    )
    if not rows:
        return ''
    return section(
        'images', 'Image by image', table(['', *head.values()], rows, caption)
    )
