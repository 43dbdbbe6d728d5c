"""Tables of results that can be compared, in Markdown and CSV."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_plugins.errors import UserError
from wsss_plugins.provenance.compare import NO_CARD, mark_unlike
from wsss_plugins.report.rows import Row
from wsss_plugins.structures.card_text import short_form
from wsss_plugins.structures.tables import Cell, csv_table, markdown_table

REMEDY = (
    'leave them out (--stage), or give --mix to have them in one table, where they are '
    'marked'
)


def refuse_unlike(rows: Sequence[Row], remedy: str) -> None:
    """Refuses a table whose rows cannot be compared.

    Args:
        rows: The rows of a table.
        remedy: End of the error message: what the user can do.

    Raises:
        UserError: The card of a row differs from most others in
            :meth:`SupervisionCard.key`, or a row has no card; the message names the first
            such row and the differences.
    """
    marks = mark_unlike([row.card for row in rows])
    wrong = [(r, s) for r, s in zip(rows, marks.signs, strict=True) if s]
    like = [r.title for r, s in zip(rows, marks.signs, strict=True) if not s]
    if wrong:
        (row, sign), notes = wrong[0], dict(note.split(' ', 1) for note in marks.notes)
        against = f" (compared with '{like[0]}')" if like else ''
        raise UserError(
            f"{len(wrong)} of {len(rows)} rows are unlike the others, first '{row.title}'"
            f'{against}: {notes[sign]}; {remedy}'
        )


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
    if not as_csv:
        titles, shown, below = comparison_cells(rows, mix)
        text = markdown_table(titles, shown, texts=1)
        return text + ''.join(f'\n{note}\n' for note in below)
    if not mix:
        refuse_unlike(rows, REMEDY)
    marks = mark_unlike([row.card for row in rows])
    columns = _columns(rows)
    notes = {note.split(' ')[0]: note.split(' ', 1)[1] for note in marks.notes}
    spread = [f'{key} spread' for key in columns if any(r.spreads for r in rows)]
    header = ['row', *columns, *spread, 'card', 'unlike']
    cells: list[list[Cell]] = [
        [
            row.title,
            *(row.metrics.get(key) for key in columns),
            *((row.spreads or {}).get(key) for key in columns if spread),
            _card(row),
            notes.get(sign, ''),
        ]
        for row, sign in zip(rows, marks.signs, strict=True)
    ]
    return csv_table(header, cells)


def comparison_cells(
    rows: Sequence[Row], mix: bool = False
) -> tuple[list[str], list[list[str]], Sequence[str]]:
    """Titles, cells and notes of a table of comparable results, for people.

    Args:
        rows: See :func:`comparison`.
        mix: See :func:`comparison`.

    Raises:
        UserError: ``mix`` is False, and a row cannot be compared with the others.
    """
    if not mix:
        refuse_unlike(rows, REMEDY)
    marks = mark_unlike([row.card for row in rows])
    columns = _columns(rows)
    cells = [
        [f'{row.title} {sign}'.strip(), *(_number(row, k) for k in columns), _card(row)]
        for row, sign in zip(rows, marks.signs, strict=True)
    ]
    return ['', *columns, 'how it was made'], cells, marks.notes


def _columns(rows: Sequence[Row]) -> list[str]:
    """The metrics of all rows."""
    return list(dict.fromkeys(key for row in rows for key in row.metrics))


def _card(row: Row) -> str:
    """The short form of a row's card."""
    return NO_CARD if row.card is None else short_form(row.card)


def _number(row: Row, key: str) -> str:
    value = row.metrics.get(key)
    if value is None:
        return '-'
    spread = '' if row.spreads is None else f' ± {row.spreads[key]:.2f}'
    return f'{value:.2f}{spread}'
