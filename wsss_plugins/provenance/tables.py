"""Writes supervision cards into tables of results."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from wsss_plugins.provenance.compare import NO_CARD, Row, mark_unlike, refuse_unlike
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_text import short_form
from wsss_plugins.structures.tables import (
    Cell,
    csv_table,
    markdown_table,
    write_csv,
    write_text,
)

CARD_COLUMN = 'card'
BELOW = 'How these numbers were made: '
REMEDY = (
    'leave them out (--stage), or give --mix to have them in one table, where they are '
    'marked'
)


def add_card(path: Path, card: SupervisionCard) -> None:
    """Adds the short form of a card to a table; it replaces an older card.

    Args:
        path: File of :func:`write_csv`, which gets a last column 'card', or of
            :func:`write_markdown`, which gets a line below the table.
        card: Card of all numbers of the table.
    """
    text = path.read_text('utf-8')
    if path.suffix == '.csv':
        header, *rows = csv.reader(io.StringIO(text))
        if header[-1] == CARD_COLUMN:
            header, rows = header[:-1], [row[:-1] for row in rows]
        rows = [[*row, short_form(card)] for row in rows]
        write_csv(path, [*header, CARD_COLUMN], rows)
    else:
        table = text.split(f'\n{BELOW}')[0].rstrip('\n')
        write_text(path, f'{table}\n\n{BELOW}{short_form(card)}\n')


def comparison(rows: Sequence[Row], mix: bool = False, as_csv: bool = False) -> str:
    """A table of comparable results, with the short form of each card.

    Args:
        rows: The results.
        mix: True to include results that cannot be compared with most others, and mark
            them.
        as_csv: True for CSV, in which a column explains the marks; False for Markdown.

    Returns:
        The text of the table.

    Raises:
        UserError: ``mix`` is False, and the card of a row differs from most others in
            :meth:`SupervisionCard.key`, or a row has no card.
    """
    if not mix:
        refuse_unlike(rows, REMEDY)
    marks = mark_unlike([row.card for row in rows])
    columns = list(dict.fromkeys(key for row in rows for key in row.metrics))
    shorts = [NO_CARD if row.card is None else short_form(row.card) for row in rows]
    if as_csv:
        notes = {note.split(' ')[0]: note.split(' ', 1)[1] for note in marks.notes}
        spread = [f'{key} spread' for key in columns if any(r.spreads for r in rows)]
        header = ['row', *columns, *spread, CARD_COLUMN, 'unlike']
        cells: list[list[Cell]] = [
            [
                row.title,
                *(row.metrics.get(key) for key in columns),
                *((row.spreads or {}).get(key) for key in columns if spread),
                short,
                notes.get(sign, ''),
            ]
            for row, short, sign in zip(rows, shorts, marks.signs, strict=True)
        ]
        return csv_table(header, cells)
    cells = [
        [f'{row.title} {sign}'.strip(), *(_number(row, k) for k in columns), short]
        for row, short, sign in zip(rows, shorts, marks.signs, strict=True)
    ]
    table = markdown_table(['', *columns, 'how it was made'], cells, texts=1)
    return table + ''.join(f'\n{note}\n' for note in marks.notes)


def _number(row: Row, key: str) -> str:
    value = row.metrics.get(key)
    if value is None:
        return '-'
    spread = '' if row.spreads is None else f' ± {row.spreads[key]:.2f}'
    return f'{value:.2f}{spread}'
