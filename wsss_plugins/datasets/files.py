"""Reads the files of data sets, with errors that name the file."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from wsss_plugins.errors import DataError, near_names


def read_whole(path: Path) -> bytes:
    """The content of a file.

    Raises:
        OSError: The file is missing or cannot be read.
        ValueError: ``path`` is a folder, a pipe or a device, which would be waited for.
    """
    if path.exists() and not path.is_file():
        raise ValueError('it is no file')
    return path.read_bytes()


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a text file that are not blank, stripped.

    Raises:
        DataError: The file is missing, no regular file, or not text in UTF-8.
    """
    try:
        text = read_whole(path).decode('utf-8-sig')
        if '\0' in text:
            raise ValueError('it has null characters')
    except (OSError, ValueError) as error:
        raise DataError(f'{path} cannot be read ({error})') from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def is_there(path: Path) -> bool:
    """Whether a file was put in a place, readable or not; a link that leads nowhere too."""
    return path.is_symlink() or path.exists()


def read_id_list(
    path: Path, is_image: Callable[[str], bool] = lambda line: False
) -> list[str]:
    """Reads ids, one a line, as ``2007_000032`` or ``/JPEGImages/2007_000032.jpg ...``.

    Only the first column counts: the second one of the lists of PSA and IRN
    names a ground-truth mask. A line with blanks that is the id of an image is one id.

    Args:
        path: A text file.
        is_image: Whether there is an image of the id that is a whole line.

    Returns:
        The ids in the order of the file.

    Raises:
        DataError: The list is unreadable or missing; the message names the lists beside
            it.
    """
    if not path.is_file():
        lists = ', '.join(sorted(p.stem for p in path.parent.glob('*.txt'))[:12])
        raise DataError(
            f'id list {path} does not exist: lists there are {lists or "none"}'
        )
    first = (
        line if ' ' in line and is_image(line) else line.split()[0]
        for line in read_lines(path)
    )
    return [Path(word).stem if '/' in word else word for word in first]


def check_ids(ids: Sequence[str], source: Path) -> None:
    """Refuses a list of ids that is empty, names an image twice, or leads elsewhere.

    Raises:
        DataError: ``ids`` is empty, lists an image twice, or has an id that leads out of
            the folder of the results or can be no name of a file; the message names the
            first such id.
    """
    if not ids:
        raise DataError(f'{source} lists no images: give a list with at least one id')
    outside = [n for n in ids if n.startswith('/') or '..' in n.split('/')]
    if outside:
        raise DataError(
            f"{source} lists '{outside[0]}': results are named by the ids, and this one "
            'leads out of their folder; correct it'
        )
    nameless = [n for n in ids if '\0' in n]
    if nameless:
        raise DataError(
            f'{source} lists {nameless[0]!r}: results are named by the ids, and no file '
            'can have this name; correct it'
        )
    if len(set(ids)) < len(ids):
        twice = [name for name, count in Counter(ids).items() if count > 1]
        raise DataError(
            f"{source} lists '{twice[0]}' more than once "
            f'({len(twice)} such ids): keep one line of each'
        )


def check_classes(names: Iterable[str], classes: Sequence[str], where: str) -> None:
    """Refuses names that are not classes.

    Args:
        names: Names in a label file.
        classes: Names that are allowed.
        where: The file and its verb, the beginning of the message.

    Raises:
        DataError: A name is not in ``classes``; the message names the first one and
            near classes.
    """
    unknown = sorted(set(names).difference(classes))
    if unknown:
        raise DataError(
            f"{where} the unknown class '{unknown[0]}': {near_names(unknown[0], classes)}"
        )


MOST_CLASSES = 254
"""Foreground classes that a label map of one byte can hold beside 0 and 255."""


def check_class_names(names: Sequence[str], owner: str) -> None:
    """Refuses lists of foreground classes that label maps or labels cannot mean.

    Args:
        names: The foreground classes, in order.
        owner: The data set, for messages.

    Raises:
        DataError: A name is that of the background or of ignored pixels, or a name is
            there twice.
    """
    for name in names:
        if name.strip('_').casefold() in ('background', 'ignore'):
            raise DataError(
                f"{owner} lists the class '{name}': background (0) and ignored pixels "
                '(255) are no classes, so remove it from the list, and label maps then '
                'have 1 for the first class'
            )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{owner} lists the class '{twice[0]}' twice: keep one")


def check_class_count(count: int, owner: str) -> None:
    """Refuses more foreground classes than a label map has values for.

    Args:
        count: Their number.
        owner: The data set, for messages.

    Raises:
        DataError: There are more than :data:`MOST_CLASSES`.
    """
    if count > MOST_CLASSES:
        raise DataError(
            f'{owner} has {count} classes, and a label map of 8 bits holds at most '
            f'{MOST_CLASSES}: leave some out (classes.txt lists those to keep)'
        )


def require_files(paths: Iterable[Path], what: str, remedy: str) -> None:
    """Checks that files exist; every folder is listed only once.

    Args:
        paths: The files.
        what: One word for the files in the message.
        remedy: Remedy for the message.

    Raises:
        DataError: Files are missing; the message names the first and counts the others.
    """
    listed: dict[Path, set[str]] = {}
    missing = []
    for path in paths:
        folder = path.parent
        if folder not in listed:
            listed[folder] = (
                {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
            )
        if path.name not in listed[folder]:
            missing.append(path)
    if missing:
        more = f' (and {len(missing) - 1} more)' if len(missing) > 1 else ''
        there = listed[missing[0].parent]
        near = difflib.get_close_matches(missing[0].name, sorted(there), n=3)
        hint = f'; near names there are {", ".join(near)}' if near else ''
        raise DataError(f'{what} {missing[0]}{more} does not exist: {remedy}{hint}')
