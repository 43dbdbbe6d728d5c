"""Tables as Markdown for people, and as CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from wsss_plugins.structures.files import atomic_path

Cell: TypeAlias = str | int | float | None


def write_markdown(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> None:
    """Writes a table in Markdown; numbers with two decimals."""
    write_text(path, markdown_table(header, rows))


def write_csv(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> None:
    """Writes a table with a line of titles; numbers in full."""
    write_text(path, csv_table(header, rows))


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


def csv_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table with a line of titles; numbers in full."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows([header, *rows])
    return text.getvalue()


def add_remark(path: Path, column: str, title: str, text: str) -> None:
    """Adds a text on all its rows to a table; it replaces an earlier one.

    Args:
        path: File of :func:`write_csv`, which gets a last column, or of
            :func:`write_markdown`, which gets a line below the table.
        column: Title of the column.
        title: Beginning of the line.
        text: Content of every cell of the column, and end of the line.
    """
    content = path.read_text('utf-8')
    if path.suffix == '.csv':
        header, *rows = csv.reader(io.StringIO(content))
        if header[-1] == column:
            header, rows = header[:-1], [row[:-1] for row in rows]
        write_csv(path, [*header, column], [[*row, text] for row in rows])
    else:
        table = content.split(f'\n{title}')[0].rstrip('\n')
        write_text(path, f'{table}\n\n{title}{text}\n')


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f'{cell:.2f}'
    return '-' if cell is None else str(cell).replace('|', r'\|')


def write_text(path: Path, text: str) -> None:
    """Writes a text, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(text, encoding='utf-8')
