"""Finding photos by the names that a table gives them."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from PIL import Image

from wsss_plugins.errors import DataError

MOST_SHOWN = 3


class PhotoFiles:
    """The files of a folder and of those below it.

    A name need not be written as on the disk. Differences in case, in the encoding of
    umlauts (macOS decomposes them), in the suffix, and, if only one file has the name,
    in the sub-folder are ignored. Closer matches have priority.

    Args:
        folder: The folder.
        skip: Names of sub-folders that are not searched, such as those of masks.
    """

    def __init__(self, folder: Path, skip: Collection[str] = ()) -> None:
        self.folder = folder
        self._exact: set[str] = set()
        self._by_key: dict[str, list[str]] = defaultdict(list)
        for name in sorted(_walk(folder, frozenset(skip))):
            self._exact.add(name)
            for key in _keys(name):
                self._by_key[key].append(name)

    def find(self, name: str) -> str | None:
        """The file that matches ``name``, as a path below the folder with '/'.

        Raises:
            DataError: ``name`` matches several files of the folder.
        """
        found = self.candidates(name)
        if len(found) > 1:
            shown = ', '.join(found[:MOST_SHOWN])
            more = len(found) - MOST_SHOWN
            shown += f' and {more} more' if more > 0 else ''
            raise DataError(
                f"'{name}' may mean several files of {self.folder} ({shown}): write "
                'it with its sub-folder and suffix'
            )
        return found[0] if found else None

    def candidates(self, name: str, keep_folder: bool = False) -> list[str]:
        """The files that ``name`` may mean: the closest matches, none or several.

        Args:
            name: A path below the folder.
            keep_folder: Whether the sub-folder must be the one that is written.
        """
        if name in self._exact:
            return [name]
        keys = _keys(name)
        for key in keys[:2] if keep_folder else keys:
            if self._by_key.get(key):
                return self._by_key[key]
        return []

    @property
    def names(self) -> list[str]:
        """All files, sorted, as paths below the folder with '/'."""
        return sorted(self._exact)


def without_photo_suffix(name: str) -> str:
    """``name`` without the suffix of a picture format; other dots stay: plot_1.5."""
    stem, _, suffix = name.rpartition('.')
    return stem if stem and f'.{suffix.lower()}' in _suffixes() else name


def is_picture(name: str) -> bool:
    """Whether the suffix of a name is that of a picture format."""
    return without_photo_suffix(name) != name


@cache
def _suffixes() -> frozenset[str]:
    """Suffixes of all picture formats that Pillow knows, such as '.jpg'."""
    return frozenset(Image.registered_extensions())


def _walk(folder: Path, skip: frozenset[str]) -> Iterator[str]:
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder that was walked, perhaps to one above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if f not in skip and f[0] != '.')
        base = Path(place).relative_to(folder)
        yield from ((base / f).as_posix() for f in files if not f.startswith('.'))


def _keys(name: str) -> list[str]:
    """The keys of a name for the look-up, the most exact first."""
    folded = unicodedata.normalize('NFC', ' '.join(name.split())).casefold()
    folders, _, last = folded.rpartition('/')
    bare = without_photo_suffix(last)
    return [
        f'path:{folded}',
        f'path without suffix:{folders}/{bare}',
        f'file:{last}',
        f'stem:{bare}',
    ]
