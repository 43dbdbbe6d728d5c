"""Tables beside that of mIoU: boundaries and errors, and rank correlations."""

from __future__ import annotations

from html import escape

from wsss_plugins.experiment.matrix.agreement import (
    ALL,
    MEANING,
    Agreement,
    agreements,
    pairs_of,
)
from wsss_plugins.experiment.matrix.faithfulness import MEASURES
from wsss_plugins.experiment.matrix.plan import Choice
from wsss_plugins.experiment.matrix.results import Table
from wsss_plugins.experiment.matrix.words import title_of
from wsss_plugins.report.markup import section, tag
from wsss_plugins.report.markup import table as html_table
from wsss_plugins.report.scatter import Point, scatter_chart
from wsss_plugins.structures.tables import Cell, markdown_table

ERRORS = ('boundary_miou', 'fp_rate', 'fn_rate')
ERRORS_TITLE = 'Boundaries and errors:'
ERRORS_MEANING = (
    'Boundary IoU / false positives / false negatives, in percent, means over the classes. '
    'False positives and negatives are shares of the union of prediction and mask, unless '
    "the convention of the card says otherwise. 'threshold': where the background ends, "
    'of each column that has one.'
)
AGREEMENT_TITLE = 'Localisation and faithfulness:'


def error_lines(table: Table) -> list[str]:
    """Markdown of boundaries and errors; empty if no cell has any."""
    rows: list[list[Cell]] = [
        [choice.classifier, choice.head, *cells] for choice, cells in _errors(table)
    ]
    if not rows:
        return []
    header = ['classifier', 'seed head', *_error_titles(table)]
    shown = markdown_table(header, rows, titles=2).rstrip('\n')
    return [ERRORS_TITLE, shown, ERRORS_MEANING]


def error_grid(table: Table) -> str:
    """HTML of boundaries and errors; empty if no cell has any."""
    rows = [
        [escape(f'{choice.classifier} {choice.head}'), *map(escape, cells)]
        for choice, cells in _errors(table)
    ]
    if not rows:
        return ''
    head = ('row', *(f'#{title}' for title in _error_titles(table)))
    shown = html_table(head, rows, 'Boundary IoU, false positives and false negatives.')
    title = tag('h3', ERRORS_TITLE.rstrip(':'))
    return title + shown + tag('p', escape(ERRORS_MEANING), class_='note')


def _error_titles(table: Table) -> list[str]:
    return [*map(title_of, table.plan.localisation), 'threshold']


def _errors(table: Table) -> list[tuple[Choice, list[str]]]:
    """The texts of each row that has any boundary or error."""
    found = []
    for choice in table.plan.choices:
        entries = [table.entries[choice, c] for c in table.plan.localisation]
        if not any(error in entry.others for entry in entries for error in ERRORS):
            continue
        cells = [
            ' / '.join(_short(entry.others.get(error)) for error in ERRORS)
            if entry.runs
            else '-'
            for entry in entries
        ]
        known = (entry.others.get('threshold') for entry in entries)
        thresholds = ' / '.join('-' if t is None else f'{t:.3f}' for t in known)
        found.append((choice, [*cells, thresholds]))
    return found


def _ends(counts: list[int]) -> list[int]:
    """The lowest and the highest of some numbers, once if they are equal."""
    return sorted({min(counts), max(counts)})


def _short(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f}'


def agreement_lines(table: Table) -> list[str]:
    """Markdown of the rank correlations; empty if faithfulness is not measured."""
    rows, notes = _agreement_rows(agreements(table))
    if not rows:
        return []
    header = ['over', 'measure', 'cells', *map(title_of, table.plan.localisation)]
    shown = markdown_table(header, rows, titles=2).rstrip('\n')
    return [AGREEMENT_TITLE, shown, MEANING, *notes]


def agreement_section(table: Table) -> str:
    """HTML of the rank correlations with scatter plots; empty without faithfulness."""
    rows, notes = _agreement_rows(agreements(table))
    if not rows:
        return ''
    titles = ['cells', *map(title_of, table.plan.localisation)]
    head = ('over', 'measure', *(f'#{title}' for title in titles))
    shown = html_table(
        head,
        [[escape(str(cell)) for cell in row] for row in rows],
        'Rank correlation of mIoU and faithfulness.',
    )
    column = next(iter(table.plan.matrix.refiners))
    charts = ''.join(_chart(table, column, measure) for measure in MEASURES)
    return section(
        'agreement',
        AGREEMENT_TITLE.rstrip(':'),
        shown,
        *(tag('p', escape(text), class_='note') for text in (MEANING, *notes)),
        tag('div', charts, class_='charts') if charts else '',
    )


def _chart(table: Table, column: str, measure: str) -> str:
    groups = {
        classifier: [
            Point(f'{choice.classifier} {choice.head}', faithful, miou)
            for choice, (miou, faithful) in pairs_of(
                table, classifier, column, measure
            ).items()
        ]
        for classifier in table.plan.matrix.classifiers
    }
    return scatter_chart(groups, title_of(measure), f'mIoU, {column}')


def _agreement_rows(found: list[Agreement]) -> tuple[list[list[Cell]], list[str]]:
    """A row for each scope and measure, and sentences on what is undefined."""
    rows: dict[tuple[str, str], list[Agreement]] = {}
    for each in found:
        key = (each.classifier or ALL, each.measure)
        rows.setdefault(key, []).append(each)
    reasons = dict.fromkeys(e.text for e in found if e.found.spearman is None)
    shown = [
        [
            scope,
            title_of(measure),
            '–'.join(map(str, _ends([each.found.count for each in row]))),
            *('undefined' if e.found.spearman is None else e.text for e in row),
        ]
        for (scope, measure), row in rows.items()
    ]
    notes = [f'{reason[0].upper()}{reason[1:]}.' for reason in reasons]
    return [list(row) for row in shown], notes
