"""The sections of the report and the page that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from wsss_plugins.engine.record import StageRecord
from wsss_plugins.provenance.compare import Marks, mark_unlike
from wsss_plugins.report.cards import card_line, legend
from wsss_plugins.report.charts import Curve, bar_charts, curve_chart
from wsss_plugins.report.gallery import Album
from wsss_plugins.report.markup import (
    duration,
    large_numbers,
    number,
    section,
    table,
    tag,
    words,
)
from wsss_plugins.report.results import Results, Row
from wsss_plugins.structures.card_text import short_form
from wsss_plugins.structures.pictures import heat_scale

ABSENT = (
    'Each mean says over how many classes it is: whether one that is nowhere, in truth or '
    'prediction, counts as 0 or is left out is the convention of the evaluation.'
)


def page(
    title: str, notes: str, records: Sequence[StageRecord], sections: Sequence[str]
) -> str:
    """The whole page, without any external resource.

    Args:
        title: Plain text.
        notes: Introduction, plain text; an empty line begins a paragraph.
        records: Of the stages, for the header.
        sections: HTML.

    Returns:
        An HTML document.
    """
    folder = Path(__file__).parent
    template = Template((folder / 'template.html').read_text('utf-8'))
    paragraphs = [p for p in notes.split('\n\n') if p.strip()]
    return template.substitute(
        title=escape(title),
        style=(folder / 'style.css').read_text('utf-8'),
        notes=''.join(tag('p', escape(p)) for p in paragraphs),
        facts=_facts(records),
        sections='\n'.join(s for s in sections if s),
    )


def _facts(records: Sequence[StageRecord]) -> str:
    """When, where and from which source the stages ran."""
    if not records:
        return ''
    facts = {
        'finished': max(r.finished for r in records).replace('T', ' ')[:19],
        'took': duration(sum(r.seconds for r in records)),
        'seed': _several(r.seed for r in records),
        'commit': _several(r.environment.get('commit') for r in records),
        'machine': _several(r.environment.get('device') for r in records),
        'workers': _several(r.environment.get('workers') for r in records),
    }
    items = (
        tag('div', tag('dt', key), tag('dd', escape(value)))
        for key, value in facts.items()
        if value
    )
    return tag('dl', *items, class_='facts')


def _several(values: Any) -> str:
    """The different values, in order."""
    return ', '.join(dict.fromkeys(str(v) for v in values if v is not None))


def numbers(results: Results) -> str:
    """Section of the numbers: the main ones large, all of them in a table."""
    rows = results.rows()
    if not rows:
        return ''
    main = {results.best_seeds, results.labels, results.predictions}
    large = [r for r in rows if r.stage in main or 'mAP' in r.measure]
    tiles = large_numbers(
        (number(row.score), row.what, row.measure)
        + ((short_form(row.card),) if row.card else ())
        for row in large
    )
    head = ('what', '#result', '#threshold', '#FP', '#FN')
    cards = [row.card for row in rows]
    marks = mark_unlike(cards) if any(cards) else Marks([''] * len(rows), [])
    cells = [
        _cells(row, sign, best=row.stage == results.best_seeds)
        for row, sign in zip(rows, marks.signs, strict=True)
    ]
    how = [card_line(row.card) + _how(row) for row in rows]
    caption = (
        'Results in percent, below each its supervision card and what the stages did; FP and '
        'FN are shares of the union. Results that are unlike most, so not to be compared '
        'with them, have a sign. ' + ABSENT
    )
    return section(
        'numbers',
        'The numbers',
        tiles,
        table(head, cells, caption, how),
        *(tag('p', escape(note), class_='note') for note in marks.notes),
        legend() if any(cards) else '',
    )


def _cells(row: Row, sign: str, best: bool) -> list[str]:
    what = words(row.what)
    if best:
        what += ' ' + tag('span', 'best seeds', class_='badge')
    if sign:
        what += ' ' + tag('sup', sign)
    what += tag('small', escape(row.measure))
    rates = [number(row.metrics.get(key)) for key in ('fp_rate', 'fn_rate')]
    return [what, tag('b', number(row.score)), number(row.threshold, 2), *rates]


def _how(row: Row) -> str:
    """Describes how a number was made, stage by stage."""
    items = (
        tag('li', tag('code', escape(stage)), ' ', escape('; '.join(said)))
        for stage, said in row.how
    )
    return tag('ul', *items, class_='how')


def curves(results: Results) -> str:
    """Section of the threshold sweeps."""
    lines = []
    for name in results.scored_seeds:
        scores = results.scores(name)
        lines.append(Curve(results.head(name), scores['thresholds'], scores['miou']))
    if not lines:
        return ''
    text = (
        'How the seeds score when every pixel below the threshold is background. The '
        'best threshold is known only with ground truth, so each top is an upper bound.'
    )
    return section('curves', 'Seeds by threshold', tag('p', text), curve_chart(lines))


def classes(results: Results) -> str:
    """Section of the IoU of each class."""
    series = {}
    chosen = results.chosen_seeds
    if chosen is not None and chosen in results.scored_seeds:
        name = f'{results.head(chosen)} seeds, best threshold'
        series[name] = results.class_ious(chosen)
    for title, stage in (
        ('pseudo labels', results.labels),
        ('predictions', results.predictions),
    ):
        if stage and stage not in results.unscored:
            series[title] = results.class_ious(stage)
    if not series:
        return ''
    text = (
        'IoU in percent, ordered by the last bar; a dash where a class is neither in '
        'truth nor in prediction.'
    )
    splits = dict.fromkeys(
        str(results.records[s].provenance.get('data'))
        for s in (results.labels, results.predictions)
        if s
    )
    if len(splits) > 1:
        text += (
            ' Pseudo labels and predictions are of different images '
            f'({" and ".join(splits)}), so compare them with care.'
        )
    return section(
        'classes', 'Class by class', tag('p', escape(text)), bar_charts(series)
    )


def gallery(album: Album, anchor: str, title: str, count: int) -> str:
    """Section of images evenly spaced through a data set."""
    cards = album.cards(album.spread(count))
    scored = any(layer.mious for layer in album.layers)
    text = escape(
        f'{len(cards)} of the {len(album.dataset)} images of the split '
        f'{Path(album.dataset.split).stem}, evenly spaced through its list, not picked. '
        + ('A number beside a caption is the mIoU of that image. ' if scored else '')
        + 'Label maps leave the background grey.'
    )
    scale = ''
    if album.heads:
        bar = tag('span', class_='bar', style=f'background:{heat_scale()}')
        scale = tag('p', 'Seeds: 0 ', bar, ' 1', class_='scale')
    kind = 'cards' if album.heads else 'cards small'
    return section(
        anchor, title, tag('p', text), scale, tag('div', *cards, class_=kind)
    )


def worst_and_best(albums: Sequence[Album]) -> str:
    """Section of the images with the lowest and highest mIoU of each layer."""
    content = ''
    for album in albums:
        for layer in album.layers:
            if not layer.mious:
                continue
            bare = Album(album.dataset, [layer])
            for title, ids in zip(
                ('Worst', 'Best'), album.extremes(layer), strict=True
            ):
                cards = bare.cards(ids)
                if cards:
                    content += tag('h3', escape(f'{title} {layer.title}s'))
                    content += tag('div', *cards, class_='cards small')
    text = tag('p', 'By the mIoU of the image; images without any class are left out.')
    if not content:
        return ''
    return section('extremes', 'The worst and the best images', text, content)


def pipeline(results: Results) -> str:
    """Section of the stages, and the versions they ran with."""
    rows = []
    for record in results.records.values():
        measured = {
            key: number(value, 2) if isinstance(value, float) else str(value)
            for key, value in record.metrics.items()
        }
        found = ', '.join(f'{key} {value}' for key, value in measured.items())
        rows.append(
            [
                tag('code', escape(record.stage)),
                words(record.kind),
                escape(', '.join(record.inputs) or '–'),
                escape(found or '–'),
                escape(record.finished.replace('T', ' ')[:19]),
                number(record.seconds),
                tag('code', escape(record.fingerprint)),
            ]
        )
    head = ('stage', 'kind', 'reads', 'found', 'finished', '#seconds', 'fingerprint')
    caption = 'The stages in order; seconds are of the last run of each.'
    environments = dict.fromkeys(_versions(r) for r in results.records.values())
    versions = ''.join(
        tag('p', escape(v), class_='versions') for v in environments if v
    )
    return section('pipeline', 'The pipeline', table(head, rows, caption), versions)


def _versions(record: StageRecord) -> str:
    versions = record.environment.get('versions', {})
    return ', '.join(f'{name} {version}' for name, version in versions.items())
