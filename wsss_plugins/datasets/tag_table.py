"""Tables of image-level labels from text editors, scripts and spreadsheets."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wsss_plugins.datasets.files import read_whole
from wsss_plugins.errors import DataError

FILE, TAGS, SPLIT = 'file', 'tags', 'split'
YES = frozenset({'1', '1.0', 'x', 'yes', 'y', 'true', 'ja', 'wahr', '+'})
NO = frozenset({'', '0', '0.0', 'no', 'n', 'false', 'nein', 'falsch', '-'})
"""Values of cells in a table with one column per class; upper and lower case are equal."""
NOTHING = frozenset({'nan', 'none', 'null', 'n/a', '#n/a', '<na>'})
"""Texts that programs write for an empty cell; upper and lower case are equal."""
QUOTES = '[](){}\'"'
"""Characters around a list of tags that a program wrote."""
JOINERS = '\u200c\u200d'
"""Invisible characters that some scripts need within a word."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        line: Number of the line in the file, from 1.
        file: Path of the photo relative to the folder of the photos, with '/'.
        tags: Classes of the photo.
        split: Value in the column ``split``; empty if there is no such column.
    """

    line: int
    file: str
    tags: frozenset[str]
    split: str


@dataclass(frozen=True)
class TagTable:
    """A table of photos and their image-level labels.

    Attributes:
        path: The file.
        rows: Its lines, in order.
        classes: All classes that occur: the columns in their order, or the labels,
            sorted.
        has_splits: Whether there is a column ``split``.
    """

    path: Path
    rows: tuple[Row, ...]
    classes: tuple[str, ...]
    has_splits: bool


def read_tag_table(path: Path, classes: Sequence[str] | None = None) -> TagTable:
    """Reads a table of image-level labels.

    Either a column ``tags``, divided by ';', '|' or ',', or one column per class, with 1
    or x for yes and 0 or nothing for no. Columns are divided by commas, semicolons or tabs;
    the text is UTF-8, UTF-16 with a byte-order mark, or cp1252 ('ANSI' in Windows).

    Args:
        path: The CSV file.
        classes: Class columns to read in a table with one column per class; by default
            all columns but ``file`` and ``split``.

    Returns:
        The table.

    Raises:
        DataError: The file is not a table of image-level labels in one of these forms;
            the message names the line.
    """
    lines = _without_empty_columns(list(_cells(path)))
    head = [_clean(cell) for cell in lines[0][1]] if lines else []
    names = [name.casefold() for name in head]
    columns = _class_columns(path, head, classes)
    rows = []
    for line, cells in lines[1:]:
        where = f'{path}, line {line}'
        if len(cells) > len(head) and any(map(str.strip, cells[len(head) :])):
            raise DataError(
                f'{where} has {len(cells)} cells but the first line {len(head)}: put tags '
                "in one cell, divided by ';'"
            )
        values = dict(zip(names, map(_clean, cells), strict=False))
        raw = dict(zip(names, cells, strict=False))
        if not any(values.values()):
            continue
        if columns is None:
            tags = _split_tags(values.get(TAGS, ''), where, classes or ())
        else:
            at = {name: values.get(name.casefold(), '') for name in columns}
            tags = {name for name, cell in at.items() if _is_yes(cell, name, where)}
        file = _relative(raw.get(FILE, ''), where)
        split = values.get(SPLIT, '').casefold()
        rows.append(Row(line, file, frozenset(tags), split))
    found = columns or sorted({tag for row in rows for tag in row.tags})
    _refuse_twins(found, path)
    return TagTable(path, tuple(rows), tuple(found), SPLIT in names)


def is_tag_table(path: Path) -> bool:
    """Whether the first line of a file is that of a table of image-level labels."""
    try:
        _, head = next(_cells(path))
    except (DataError, StopIteration):
        return False
    return FILE in [_clean(cell).casefold() for cell in head] and len(head) > 1


def _without_empty_columns(
    lines: list[tuple[int, list[str]]],
) -> list[tuple[int, list[str]]]:
    """Leaves out the columns without any text, which spreadsheets write behind a table."""
    width = max((len(cells) for _, cells in lines), default=0)
    used = [
        c
        for c in range(width)
        if any(cells[c].strip() for _, cells in lines if c < len(cells))
    ]
    return [(line, [cells[c] for c in used if c < len(cells)]) for line, cells in lines]


def _class_columns(
    path: Path, head: Sequence[str], classes: Sequence[str] | None
) -> list[str] | None:
    """The columns that are classes; None where there is a column of tags."""
    names = [name.casefold() for name in head]
    others = [name for name in head if name and name.casefold() not in (FILE, SPLIT)]
    if FILE not in names or not others:
        raise DataError(
            f"{path} begins with '{','.join(head)}': its first line must be file,tags (or "
            'file and one column per class)'
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path} has two columns '{twice}': rename one")
    if TAGS in names:
        return None
    if classes is None:
        return others
    missing = [name for name in classes if name.casefold() not in names]
    if missing:
        raise DataError(
            f"{path} has no column '{missing[0]}': columns there are {', '.join(others)}"
        )
    return list(classes)


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of every line that is not blank."""
    text = _text(path)
    skipped = 0
    mark = re.match(r'sep=([^"\r\n])\r?\n', text)  # a note of Excel to itself
    if mark:
        text, skipped = text[mark.end() :], 1
    first = next((line for line in text.splitlines() if line.strip()), '')
    divider = mark[1] if mark else max(',;\t', key=first.count)
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=divider)
    begin = 1 + skipped
    try:
        for cells in reader:
            if any('\n' in cell or '\r' in cell for cell in cells):
                raise DataError(
                    f'{path}, line {begin} has a cell that goes on in the next line: '
                    'close its quotation mark, or remove it'
                )
            if any(map(str.strip, cells)):
                yield begin, cells
            begin = reader.line_num + 1 + skipped
    except csv.Error as error:
        raise DataError(
            f'{path}, line {reader.line_num + skipped} cannot be read ({error}): save it '
            'as CSV again'
        ) from error


def _text(path: Path) -> str:
    """The content of a text file in any encoding that spreadsheets write.

    Raises:
        DataError: The file cannot be decoded as text.
    """
    try:
        data = read_whole(path)
        if data.startswith((b'\xff\xfe', b'\xfe\xff')):
            return data.decode('utf-16')
        if b'\x00' in data:
            raise ValueError('it is no text')
        try:
            return data.decode('utf-8-sig')
        except UnicodeDecodeError:
            return data.decode('cp1252')
    except (OSError, ValueError) as error:
        raise DataError(
            f'{path} cannot be read ({error}): save it as CSV in UTF-8'
        ) from error


def _clean(cell: str) -> str:
    """A cell without blanks around it, its letters composed (macOS splits umlauts)."""
    return unicodedata.normalize('NFC', ' '.join(cell.split()))


def _split_tags(text: str, where: str, classes: Collection[str]) -> set[str]:
    """The tags of a cell.

    Args:
        text: The cell; its tags are divided by ';', '|' or ','.
        where: File and line, for messages.
        classes: Names that are known to be classes, and so are no mistake.

    Raises:
        DataError: A tag is one that a program wrote by mistake, or 'background'.
    """
    tags = {tag.strip() for tag in re.split('[;|,]', text)} - {''}
    for tag in sorted(tags.difference(classes)):
        if tag.casefold() == 'background':
            raise DataError(
                f"{where} has the tag 'background': leave the tags empty where a photo "
                'shows none of the classes'
            )
        if tag.casefold() in NOTHING:
            raise DataError(
                f"{where} has the tag '{tag}', which programs write for an empty cell: "
                'leave the cell empty, or list it in classes.txt if it is a class'
            )
        if tag[0] in QUOTES or tag[-1] in QUOTES:
            raise DataError(
                f'{where} has the tags {text}: write them without brackets and quotation '
                "marks, divided by ';', such as bird;nest"
            )
        _refuse_hidden(tag, where)
    return tags


def _refuse_hidden(tag: str, where: str) -> None:
    hidden = [c for c in tag if unicodedata.category(c) in ('Cc', 'Cf')]
    hidden = [c for c in hidden if c not in JOINERS]
    if hidden:
        name = unicodedata.name(hidden[0], 'a control character')
        raise DataError(
            f'{where} has the tag {tag!a} with an invisible character '
            f'(U+{ord(hidden[0]):04X}, {name.lower()}): type the tag again'
        )


def check_names(names: Sequence[str], where: str) -> None:
    """Refuses names of classes that a table would not give back.

    Args:
        names: The classes.
        where: Where they come from, for messages.

    Raises:
        DataError: A name has an invisible character, or two differ in case only.
    """
    for name in names:
        _refuse_hidden(name, where)
    _refuse_twins(names, where)


def _is_yes(cell: str, name: str, where: str) -> bool:
    value = cell.casefold()
    if value not in YES | NO:
        raise DataError(
            f"{where} has '{cell}' in the column '{name}': allowed are 1 or x for yes and "
            '0 or nothing for no; if the column is no class, list the classes in '
            'classes.txt, one a line'
        )
    return value in YES


def _relative(file: str, where: str) -> str:
    """The path of a photo below its folder."""
    file = unicodedata.normalize('NFC', file.strip())
    path = PurePosixPath(file.replace('\\', '/'))
    if not file:
        raise DataError(f'{where} has no file: fill it in or remove the line')
    if path.is_absolute() or '..' in path.parts or re.match('[A-Za-z]:', file):
        raise DataError(
            f"{where} has the file '{file}': give it as it lies in the folder of the "
            'photos, such as day_1/IMG_1.jpg'
        )
    return path.as_posix()


def _refuse_twins(names: Sequence[str], path: Path | str) -> None:
    """Refuses two classes that differ in case only, which is mostly an oversight."""
    known: dict[str, str] = {}
    for name in names:
        bare = name.translate(dict.fromkeys(map(ord, JOINERS)))
        twin = known.setdefault(bare.casefold(), name)
        if twin != name:
            raise DataError(
                f"{path} has the tags '{twin}' and '{name}': write a class one way"
            )
