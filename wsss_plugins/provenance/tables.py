"""Tables of results, for people and for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from wsss_plugins.provenance.compare import NO_CARD, Row, mark_unlike, refuse_unlike
from wsss_plugins.structures import atomic_path
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_text import short_form

Cell: TypeAlias = str | int | float | None
CARD_COLUMN = 'card'
BELOW = 'How these numbers were made: '
REMEDY = (
    'leave them out (--stage), or give --mix to have them in one table, where they are '
    'marked'
)


def write_markdown(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> None:
    """Writes a table in Markdown; numbers with two decimals."""
    _write(path, markdown_table(header, rows))


def write_csv(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> None:
    """Writes a table with a line of titles; numbers in full."""
    _write(path, _csv(header, rows))


def markdown_table(
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    texts: int = 0,
    titles: int = 1,
) -> str:
    """A table whose first ``titles`` and last ``texts`` columns are no numbers."""
    numbers = len(header) - titles - texts
    lines = [list(header), [*['---'] * titles, *['---:'] * numbers, *['---'] * texts]]
    lines += [[_shown(cell) for cell in row] for row in rows]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def _csv(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows([header, *rows])
    return text.getvalue()


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f'{cell:.2f}'
    return '-' if cell is None else str(cell).replace('|', r'\|')


def add_card(path: Path, card: SupervisionCard) -> None:
    """Puts the card in short into a table, in place of an older one.

    Args:
        path: A table of :func:`write_csv`, which gets a last column 'card', or of
            :func:`write_markdown`, which gets a line below.
        card: That of all its numbers.
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
        _write(path, f'{table}\n\n{BELOW}{short_form(card)}\n')


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding='utf-8')


def comparison(rows: Sequence[Row], mix: bool = False, as_csv: bool = False) -> str:
    """A table of results that were made alike, with the card of each in short.

    Args:
        rows: The results.
        mix: Put unlike ones into it nevertheless, and mark them.
        as_csv: CSV rather than Markdown; what is unlike is then a column.

    Returns:
        The table.

    Raises:
        UserError: Unlike rows without ``mix``.
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
        return _csv(header, cells)
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
