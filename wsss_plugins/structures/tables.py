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


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f'{cell:.2f}'
    return '-' if cell is None else str(cell).replace('|', r'\|')


def write_text(path: Path, text: str) -> None:
    """Writes a text, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(text, encoding='utf-8')
