"""The pages of the board."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from wsss_plugins.board.logs import training_curves
from wsss_plugins.board.numbers import FACTS, Number, choices, chosen, numbers_of
from wsss_plugins.board.pictures import latest
from wsss_plugins.board.runs import DONE, RUNNING, WAITING, Run, StageSeen
from wsss_plugins.errors import DataError
from wsss_plugins.progress import duration as rough
from wsss_plugins.provenance.compare import mark_unlike
from wsss_plugins.report.cards import card_line, legend
from wsss_plugins.report.charts import Curve, curve_chart, line_chart
from wsss_plugins.report.markup import (
    duration,
    large_numbers,
    number,
    section,
    table,
    tag,
    words,
)
from wsss_plugins.report.page import page
from wsss_plugins.structures import load_json
from wsss_plugins.structures.layout import SCORES_FILE

LISTED = 100
"""Numbers that the page of all runs lists."""
LIVE = 'Live: what has changed appears by itself.'


def index(root: Path, runs: Sequence[Run], given: Mapping[str, str]) -> str:
    """The page of all runs.

    Args:
        root: Folder of the board.
        runs: All runs below it.
        given: The query of the address; its keys in :data:`FACTS` filter the page.
    """
    runs = [run for run in runs if run.stages or run.owner]
    every = {run.name: numbers_of(run) for run in runs}
    numbers = [number for found in every.values() for number in found]
    wanted = chosen(given)
    kept = [number for number in numbers if number.fits(wanted)]
    names = {number.run for number in kept}
    shown = [run for run in runs if run.name in names or not wanted]
    shown.sort(key=lambda run: (run.state != RUNNING, _backwards(run.changed)))
    content = [
        _live(),
        _filters(numbers, wanted),
        _running([run for run in shown if run.state == RUNNING]),
        _table_of_runs(
            shown, {name: [n for n in kept if n.run == name] for name in every}
        ),
        _table_of_numbers(kept),
        _script(),
    ]
    if not runs:
        content[1] = tag(
            'p', 'There is no work dir here yet; one appears when it begins.'
        )
    return page(f'Runs in {root.name or root}', str(root), [], content)


def _backwards(text: str) -> list[int]:
    """A key that sorts texts of times from late to early."""
    return [-ord(letter) for letter in text]


def _live() -> str:
    return tag('p', LIVE, class_='note', data_live='')


def _script() -> str:
    return tag('script', src='/board.js', defer='')


def _filters(numbers: Sequence[Number], wanted: Mapping[str, str]) -> str:
    """The form that filters by the facts of cards, where there is more than one value."""
    fields = ''
    for name, values in choices(numbers).items():
        if len(values) < 2 and name not in wanted:
            continue
        listed = dict.fromkeys([*values, *filter(None, [wanted.get(name)])])
        options = tag('option', 'any', value='') + ''.join(
            tag(
                'option',
                escape(value),
                value=value,
                selected='' if wanted.get(name) == value else None,
            )
            for value in listed
        )
        fields += tag('label', escape(FACTS[name]), tag('select', options, name=name))
    if not fields:
        return ''
    button = tag('button', 'Filter')
    everything = tag('a', 'all', href='/') if wanted else ''
    form = tag('form', fields, button, everything, method='get', action='/')
    return section('filter', 'By supervision card', form)


def _running(runs: Sequence[Run]) -> str:
    cards = ''
    for run in runs:
        inner = tag('h3', _link(run), tag('span', escape(_owner(run)), class_='chip'))
        inner += ''.join(_bar(s) for s in run.stages if s.state == RUNNING)
        inner += tag('p', escape(_stages_done(run)), class_='note')
        cards += tag('article', inner, class_='card')
    return (
        section('now', 'Running now', tag('div', cards, class_='cards small'))
        if cards
        else ''
    )


def _bar(stage: StageSeen) -> str:
    """How far a stage is."""
    text = f'{stage.name}, for {rough(stage.since)}'
    bar = tag('progress')
    if stage.total:
        made = min(stage.made, stage.total)
        bar = tag('progress', value=made, max=stage.total)
        text = f'{stage.name}: {made} of {stage.total} {stage.unit}'
        text += '' if stage.left is None else f', about {rough(stage.left)} left'
    return tag('div', tag('label', bar, escape(text)), class_='progress')


def _owner(run: Run) -> str:
    owner = run.owner
    since = str(owner.get('since', '')).replace('T', ' ')
    return f'since {since} on {owner.get("host", "this machine")}' if since else ''


def _stages_done(run: Run) -> str:
    waiting = [stage.name for stage in run.stages if stage.state == WAITING]
    text = f'{run.done} of {len(run.stages)} stages done'
    return text + (f'; next {waiting[0]}' if waiting else '')


def _link(run: Run) -> str:
    return tag('a', escape(run.name), href=_address('/run', name=run.name))


def _address(path: str, **query: str) -> str:
    return f'{path}?{urlencode(query, errors="surrogateescape")}'


def _table_of_runs(runs: Sequence[Run], every: Mapping[str, Sequence[Number]]) -> str:
    rows = []
    for run in runs:
        last: Sequence[Number | None] = every[run.name][-1:] or [None]
        main = '–'
        if last[0] is not None:
            main = f'{number(last[0].value)} {tag("small", escape(last[0].stage))}'
        rows.append(
            [
                _link(run),
                _state(run.state),
                f'{run.done} of {len(run.stages)}',
                *(
                    tag('span', text, class_='oneline')
                    for text in (
                        main,
                        escape(run.experiment or '–'),
                        escape(run.changed.replace('T', ' ')[:16] or '–'),
                    )
                ),
            ]
        )
    if not rows:
        return ''
    head = ('run', 'state', 'stages', 'last number', 'experiment', 'changed')
    return section('runs', 'Runs', table(head, rows, f'{len(rows)} work dirs.'))


def _state(state: str) -> str:
    return tag('span', state, class_=f'state {state}')


def _table_of_numbers(numbers: Sequence[Number]) -> str:
    if not numbers:
        return ''
    ordered = sorted(numbers, key=lambda each: _backwards(each.finished))[:LISTED]
    marks = mark_unlike([each.card for each in ordered])
    rows = [
        [
            tag('a', escape(each.run), href=_address('/run', name=each.run))
            + tag('small', tag('code', escape(each.stage))),
            tag('b', number(each.value)) + (f' {tag("sup", sign)}' if sign else ''),
            escape(each.measure),
        ]
        for each, sign in zip(ordered, marks.signs, strict=True)
    ]
    below = [_keyed(card_line(n.card), f'{n.run} {n.stage}') for n in ordered]
    caption = (
        f'{len(rows)} of {len(numbers)} main results in percent, the latest first, each '
        'with its supervision card. '
        'Results with a sign cannot be compared with most others; the filter leaves those '
        'that can.'
    )
    head = ('run and stage', '#result', 'measure')
    notes = (tag('p', escape(note), class_='note') for note in marks.notes)
    return section(
        'numbers', 'Numbers', table(head, rows, caption, below), *notes, legend()
    )


def _keyed(details: str, key: str) -> str:
    """A ``details`` element that stays open when the page is read again."""
    return details.replace('<details', f'<details data-key="{escape(key)}"', 1)


def run_page(run: Run, pages: Collection[str]) -> str:
    """The page of one run.

    Args:
        run: The run.
        pages: Names of the files of stages to link to.
    """
    numbers = numbers_of(run)
    large = [(number(n.value), n.stage.replace('_', ' '), n.measure) for n in numbers]
    content = [
        tag(
            'p',
            tag('a', 'All runs', href='/'),
            ' · ',
            _state(run.state),
            ' ',
            escape(_owner(run)),
        ),
        _live(),
        ''.join(_bar(s) for s in run.stages if s.state == RUNNING),
        section('results', 'Numbers', large_numbers(large)) if large else '',
        _pages(run, pages),
        _training(run),
        _sweeps(run),
        latest(run),
        _table_of_stages(run),
        _cards(numbers),
        _script(),
    ]
    return page(run.name, run.experiment, [], content)


def _pages(run: Run, pages: Collection[str]) -> str:
    """Links to the pages that stages of the run wrote."""
    links = ''.join(
        tag(
            'li',
            tag(
                'a',
                escape(f'{stage.name}/{file}'),
                href=_address('/file', name=run.name, stage=stage.name, file=file),
            ),
        )
        for stage in run.stages
        for file in sorted(pages)
        if (stage.folder / file).is_file()
    )
    return section('pages', 'Pages', tag('ul', links)) if links else ''


def _training(run: Run) -> str:
    """Curves of every training, the one that runs first."""
    figures = ''
    for stage in sorted(run.stages, key=lambda each: each.state != RUNNING):
        losses, checks = training_curves(stage.folder)
        title = tag('h3', tag('code', escape(stage.name)))
        charts = line_chart(losses, 'iteration', 'loss') if losses else ''
        charts += line_chart(checks, 'epoch', 'validation') if checks else ''
        if charts:
            figures += tag('div', title, charts)
    text = tag(
        'p',
        'Each point is the mean of its neighbours; the numbers are the last points.',
    )
    return (
        section('training', 'Training', text, tag('div', figures, class_='charts'))
        if figures
        else ''
    )


def _sweeps(run: Run) -> str:
    """MIoU of seeds against the threshold, of every stage that swept one."""
    curves = []
    for stage in run.stages:
        scores = _scores(stage)
        at, values = scores.get('thresholds'), scores.get('miou')
        if not (isinstance(at, list) and isinstance(values, list)):
            continue
        if stage.state == DONE and at and len(at) == len(values):
            curves.append(Curve(stage.name, at, values))
    return (
        section('curves', 'Seeds by threshold', curve_chart(curves)) if curves else ''
    )


def _scores(stage: StageSeen) -> dict[str, Any]:
    try:
        content = load_json(stage.folder / SCORES_FILE)
    except (DataError, OSError):
        return {}
    return content if isinstance(content, dict) else {}


def _table_of_stages(run: Run) -> str:
    rows = []
    for stage in run.stages:
        record = stage.record
        metrics = {} if record is None else record.metrics
        found = ', '.join(
            f'{key} {number(value, 2) if isinstance(value, float) else value}'
            for key, value in metrics.items()
        )
        made = (
            f'{stage.made} of {stage.total or "?"} {stage.unit}' if stage.made else ''
        )
        rows.append(
            [
                tag('code', escape(stage.name)),
                _state(stage.state),
                words(record.kind) if record else '–',
                escape(', '.join(record.inputs) if record else '') or '–',
                duration(record.seconds) if record and record.seconds else '–',
                escape(found or made or '–'),
            ]
        )
    head = ('stage', 'state', 'kind', 'reads', '#took', 'found')
    return section('pipeline', 'Stages', table(head, rows, _stages_done(run)))


def _cards(numbers: Sequence[Number]) -> str:
    lines = ''.join(
        tag('h3', tag('code', escape(each.stage)))
        + _keyed(card_line(each.card), each.stage)
        for each in numbers
    )
    return (
        section('cards', 'How the numbers were made', lines, legend()) if lines else ''
    )
