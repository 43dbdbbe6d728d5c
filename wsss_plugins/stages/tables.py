"""Tables of results, for people and for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from wsss_plugins.structures import atomic_path

Cell: TypeAlias = str | int | float | None


def write_markdown(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> None:
    """Writes a table in Markdown; numbers with two decimals."""
    lines = [list(header), ['---', *['---:'] * (len(header) - 1)]]
    lines += [[_shown(cell) for cell in row] for row in rows]
    _write(path, ''.join(f'| {" | ".join(line)} |\n' for line in lines))


def write_csv(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[Cell]]
) -> None:
    """Writes a table with a line of titles; numbers in full."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows([header, *rows])
    _write(path, text.getvalue())


def _shown(cell: Cell) -> str:
    if isinstance(cell, float):
        return f'{cell:.2f}'
    return '-' if cell is None else str(cell).replace('|', r'\|')


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as part:
        part.write_text(text, encoding='utf-8')
