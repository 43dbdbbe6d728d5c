"""Writes the table of a grid as Markdown, CSV and an HTML page."""

from __future__ import annotations

from html import escape
from pathlib import Path

from wsss_plugins.experiment.matrix.agreement import HEADER as AGREEMENT_HEADER
from wsss_plugins.experiment.matrix.agreement import agreement_rows, agreements
from wsss_plugins.experiment.matrix.faithfulness import MEASURES
from wsss_plugins.experiment.matrix.more_tables import (
    ERRORS,
    agreement_lines,
    agreement_section,
    error_grid,
    error_lines,
)
from wsss_plugins.experiment.matrix.plan import Choice
from wsss_plugins.experiment.matrix.results import Entry, Table
from wsss_plugins.experiment.matrix.words import (
    best_of_each,
    classifiers,
    made_by,
    number_of,
    reading,
    title_of,
)
from wsss_plugins.provenance.compare import NO_CARD
from wsss_plugins.report.cards import card_line, legend
from wsss_plugins.report.markup import section, tag
from wsss_plugins.report.markup import table as html_table
from wsss_plugins.report.page import page
from wsss_plugins.structures import atomic_path
from wsss_plugins.structures.card_text import short_form
from wsss_plugins.structures.tables import Cell, markdown_table, write_csv

SUFFIXES = ('.md', '.csv', '.html')
CORRELATION = '_correlation.csv'
MADE = tag('p', 'One line for each column; it opens to the card of one of its cells.')
HEADER = (
    'classifier', 'head', 'column', 'miou', 'spread', 'runs', 'seeds', 'each', 'seconds',
    'card', 'unlike', 'absent', *ERRORS, 'threshold', 'faithfulness', 'photos',
)  # fmt: skip


def write_tables(table: Table, out: Path, command: str = '') -> list[Path]:
    """Writes ``out.md``, ``out.csv`` and, if any stage is done, ``out.html``.

    A grid that measures faithfulness has ``out_correlation.csv`` too.

    Args:
        table: The table.
        out: Path of the files without a suffix.
        command: Command line that makes the table, for the text above it.

    Returns:
        Paths of the files.
    """
    paths = [out.with_name(out.name + suffix) for suffix in SUFFIXES]
    with atomic_path(paths[0]) as part:
        part.write_text(as_markdown(table, command), encoding='utf-8')
    write_csv(paths[1], HEADER, csv_rows(table))
    found = agreements(table)
    if found:
        path = out.with_name(f'{out.name}{CORRELATION}')
        write_csv(path, AGREEMENT_HEADER, agreement_rows(found))
        paths.append(path)
    if not table.all_records:
        return [path for path in paths if path != paths[2]]
    with atomic_path(paths[2]) as part:
        part.write_text(as_html(table, command), encoding='utf-8')
    return paths


def as_markdown(table: Table, command: str = '') -> str:
    """Markdown with a row for each classifier and seed head, a column for each refiner."""
    columns = table.plan.columns
    rows: list[list[Cell]] = []
    before = ''
    for choice in table.plan.choices:
        name = choice.classifier if choice.classifier != before else ''
        before = choice.classifier
        cells = (_markdown_cell(table, choice, column) for column in columns)
        rows.append([name, choice.head, *cells])
    header = ['classifier', 'seed head', *map(title_of, columns)]
    parts = [
        made_by(table, command),
        *filter(
            None, (' '.join(p.split()) for p in table.plan.matrix.notes.split('\n\n'))
        ),
        markdown_table(header, rows, titles=2).rstrip('\n'),
        ' '.join(reading(table)),
    ]
    parts += [f'{sign} {text}' for text, sign in table.signs.items()]
    parts += error_lines(table)
    parts += agreement_lines(table)
    parts += _list('Best pseudo labels:', best_of_each(table))
    parts += _list('Classifiers:', classifiers(table))
    parts += _list('How the numbers of each column were made:', _made(table))
    absent = [f'{cells}: {why}' for cells, why in table.absent()]
    parts += _list('Without a number:', absent)
    return '\n\n'.join(parts) + '\n'


def _list(title: str, lines: list[str]) -> list[str]:
    return [title, '\n'.join(f'- {line}' for line in lines)] if lines else []


def _made(table: Table) -> list[str]:
    """Lines with the short forms of the cards of each column."""
    lines = []
    for column in table.plan.columns:
        for card in table.cards(column):
            short = NO_CARD if card is None else short_form(card)
            lines.append(f'{title_of(column)}: {short}')
    return lines


def _sign(table: Table, choice: Choice, column: str) -> str:
    text = table.marks.get((choice, column))
    return '' if text is None else table.signs[text]


def _markdown_cell(table: Table, choice: Choice, column: str) -> str:
    entry = table.entries[choice, column]
    text = number_of(entry, len(table.seeds), table.photos(column))
    if table.is_best(choice, column):
        text = f'**{text}**'
    return f'{text} {_sign(table, choice, column)}'.strip()


def csv_rows(table: Table) -> list[list[Cell]]:
    """Rows of the CSV file, one for each cell, in the columns of :data:`HEADER`."""
    rows: list[list[Cell]] = []
    for (choice, column), entry in table.entries.items():
        failed = '; '.join(f'seed {s}: {why}' for s, why in entry.failed.items())
        faithful = column in MEASURES
        rows.append(
            [
                choice.classifier,
                choice.head,
                column,
                None if faithful else entry.mean,
                entry.spread,
                len(entry.runs),
                ' '.join(map(str, entry.runs)),
                ' '.join(f'{value:g}' for value in entry.runs.values()),
                entry.seconds,
                None if not entry.runs else _short(entry),
                table.marks.get((choice, column), ''),
                entry.refused or failed,
                *(entry.others.get(name) for name in (*ERRORS, 'threshold')),
                entry.mean if faithful else None,
                entry.photos,
            ]
        )
    return rows


def _short(entry: Entry) -> str:
    return NO_CARD if entry.card is None else short_form(entry.card)


def as_html(table: Table, command: str = '') -> str:
    """An HTML page without external resources; at least one stage must be done."""
    matrix = table.plan.matrix
    best = _html_list('Best pseudo labels', best_of_each(table))
    trained = _html_list('Classifiers', classifiers(table))
    signs = (
        tag('p', escape(f'{sign} {text}'), class_='note')
        for text, sign in table.signs.items()
    )
    grids = [_grid(table, classifier) for classifier in matrix.classifiers]
    asked = [tag('p', tag('code', escape(command)))] if command else []
    return page(
        matrix.title,
        matrix.notes,
        table.all_records,
        [
            section(
                'numbers',
                'The numbers',
                *grids,
                *signs,
                error_grid(table),
                best,
                trained,
            ),
            agreement_section(table),
            section('reading', 'How to read them', _sentences(table), *asked),
            section('made', 'How they were made', MADE, _cards(table), legend()),
            _absent(table),
        ],
    )


def _grid(table: Table, classifier: str) -> str:
    """Table of one classifier; colours show the place of a number in the whole grid."""
    columns = table.plan.columns
    rows = []
    for choice in table.plan.choices:
        if choice.classifier == classifier:
            cells = []
            for column in columns:
                share = _place(table, choice, column)
                cells.append(_html_cell(table, choice, column, share))
            rows.append([escape(choice.head), *cells])
    head = ('seed head', *(f'#{title_of(column)}' for column in columns))
    also = ', and faithfulness of the maps' if table.plan.matrix.tested() else ''
    caption = f'mIoU in percent of the maps and pseudo labels of {classifier}{also}.'
    return tag('h3', escape(classifier)) + html_table(head, rows, caption)


def _place(table: Table, choice: Choice, column: str) -> float:
    """Place of a number between the worst, 0, and the best, 1, of its kind in the grid.

    All mIoU are of one kind, and the numbers of each measure of faithfulness.
    """
    mean = table.entries[choice, column].mean
    alike = [column] if column in MEASURES else table.plan.localisation
    means = [
        entry.mean
        for (_, name), entry in table.entries.items()
        if name in alike and entry.mean is not None
    ]
    if mean is None or max(means) == min(means):
        return 0.0
    share = (mean - min(means)) / (max(means) - min(means))
    return share if table.high_is_good(column) else 1 - share


def _html_cell(table: Table, choice: Choice, column: str, share: float) -> str:
    entry = table.entries[choice, column]
    shown = number_of(entry, len(table.seeds), table.photos(column))
    text, *spread = shown.split(' ±')
    if entry.mean is None:
        return tag('small', escape(text), title=entry.refused or None)
    sign = _sign(table, choice, column)
    content = tag('b' if table.is_best(choice, column) else 'span', escape(text))
    content += ''.join(tag('small', f' ±{escape(rest)}') for rest in spread)
    content += f' {tag("sup", sign)}' if sign else ''
    shade = f'color-mix(in srgb, var(--mark) {40 * share:.0f}%, transparent)'
    style = f'background:{shade};padding:.15rem .4rem;border-radius:.3rem;white-space:nowrap'
    each = ', '.join(f'seed {seed}: {value:.2f}' for seed, value in entry.runs.items())
    return tag('span', content, style=style, title=each)


def _sentences(table: Table) -> str:
    lines = [
        *reading(table),
        'The stronger the colour of a cell, the better its number.',
    ]
    return tag('ul', *(tag('li', escape(line)) for line in lines))


def _html_list(title: str, lines: list[str]) -> str:
    items = (tag('li', escape(line)) for line in lines)
    return tag('h3', escape(title)) + tag('ul', *items) if lines else ''


def _cards(table: Table) -> str:
    return ''.join(
        tag('h3', escape(title_of(column)))
        + ''.join(card_line(card) for card in table.cards(column))
        for column in table.plan.columns
        if table.cards(column)
    )


def _absent(table: Table) -> str:
    rows = [[escape(cells), escape(why)] for cells, why in table.absent()]
    if not rows:
        return ''
    caption = 'Rows that cannot be, and stages that have failed.'
    return section(
        'absent', 'Without a number', html_table(('what', 'why'), rows, caption)
    )
