"""Sources of a preparation: folders and archives with one interface."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

from wsss_plugins.datasets.files import check_ids
from wsss_plugins.errors import DataError
from wsss_plugins.structures import PART_FILES

Wanted = Mapping[str, Collection[str]]
"""Names of files, by the folder of a source that holds them."""


@dataclass(frozen=True)
class Member:
    """One file of a source.

    Attributes:
        name: Its name without folders.
        where: Its place in messages, such as 'VOC.tar: VOC2012/JPEGImages/a.jpg'.
        path: Its path where it lies in a folder, None in an archive.
        data: Its content where it lay in an archive, else None.
    """

    name: str
    where: str
    path: Path | None
    data: bytes | None

    def read(self) -> bytes:
        """Its content.

        Raises:
            DataError: The file cannot be read.
        """
        if self.path is None:
            return self.data or b''
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DataError(
                f'{self.where} cannot be read ({error.strerror})'
            ) from error


class Source(ABC):
    """A folder or an archive that the user has.

    Opening it reads the list of all its files once, which finds an archive that was
    cut off. Files of macOS ('._a.jpg', '__MACOSX/') are left out.

    Args:
        path: The folder or file.

    Raises:
        DataError: ``path`` is missing or damaged, or the archive has members outside
            its own folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folders: dict[str, set[str]] = {}

    def add(self, name: str) -> None:
        """Lists the file ``name``, a path with '/' relative to the source."""
        folder, _, file = name.removeprefix('./').rpartition('/')
        if is_content(file) and '__MACOSX' not in folder.split('/'):
            self.folders.setdefault(folder, set()).add(file)

    def locate(self, ending: str) -> list[str]:
        """Folders that are or end in ``ending``, the shortest first.

        The source itself counts as a folder of its own name, so that ``train2014``
        may be given as well as what it lies in.
        """
        top = self.path.resolve().name
        found = [
            folder
            for folder in self.folders
            if f'/{top}/{folder}'.rstrip('/').endswith(f'/{ending}')
        ]
        return sorted(found, key=lambda f: (f.count('/'), f))

    @property
    def summary(self) -> str:
        """A few of its folders and files, for messages."""
        names = [f for f in sorted(self.folders) if f] or sorted(
            self.folders.get('', ())
        )
        more = ' ...' if len(names) > 4 else ''
        return ', '.join(names[:4]) + more if names else 'nothing'

    def ids(self, folder: str, name: str) -> list[str]:
        """The ids in a list, the first word of each line.

        Raises:
            DataError: The source has no list of that name, or the list is not text.
        """
        if name not in self.folders.get(folder, ()):
            raise DataError(
                f'{self.path} has no {name} in {folder or "its root"}: give the whole data '
                'set, as it was downloaded'
            )
        with self.open(folder, name) as file:
            data = file.read()
        try:
            lines = data.decode('utf-8-sig').splitlines()
        except UnicodeDecodeError as error:
            raise DataError(
                f'{self.path}: {folder}/{name} is no text: get it anew'
            ) from error
        words = [line.split()[0] for line in lines if line.strip()]
        ids = [Path(word).stem if '/' in word else word for word in words]
        check_ids(ids, self.path / folder / name)
        return ids

    @abstractmethod
    def identity(self) -> list[Any]:
        """Identifies this source in the record of a preparation."""

    @abstractmethod
    def members(self, wanted: Wanted) -> Iterator[Member]:
        """Yields the wanted files in the order that is fastest to read."""

    @abstractmethod
    def sizes(self, wanted: Wanted) -> int:
        """Bytes of the wanted files together."""

    @abstractmethod
    def open(self, folder: str, name: str) -> AbstractContextManager[IO[bytes]]:
        """Opens one file, so that it need not be held in memory as a whole."""


class FolderSource(Source):
    """A folder; its files can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        seen: set[str] = set()
        for folder, below, names in os.walk(path, followlinks=True):
            if (real := os.path.realpath(folder)) in seen:  # a link to a folder above
                below.clear()
                continue
            seen.add(real)
            base = Path(folder).relative_to(path).as_posix()
            for name in names:
                self.add(name if base == '.' else f'{base}/{name}')

    def identity(self) -> list[Any]:
        """The path."""
        return [str(self.path.resolve())]

    def members(self, wanted: Wanted) -> Iterator[Member]:
        """By name."""
        for folder, names in wanted.items():
            place = (self.path / folder).resolve()
            for name in sorted(names):
                yield Member(name, str(self.path / folder / name), place / name, None)

    def sizes(self, wanted: Wanted) -> int:
        """Sizes of the files, from the file system."""
        return sum(
            (self.path / f / n).stat().st_size for f, ns in wanted.items() for n in ns
        )

    def open(self, folder: str, name: str) -> AbstractContextManager[IO[bytes]]:
        """The file itself."""
        return (self.path / folder / name).open('rb')


class FileSource(FolderSource):
    """A single file that is no archive, such as an instances file."""

    def __init__(self, path: Path) -> None:
        Source.__init__(self, path.parent)
        self.file = path
        self.add(path.name)

    def identity(self) -> list[Any]:
        """Name and bytes."""
        return [self.file.name, self.file.stat().st_size]

    def locate(self, ending: str) -> list[str]:
        """The folder of the file, whatever its name."""
        return ['']


def is_content(name: str) -> bool:
    """Whether a file belongs to a data set rather than to macOS or a killed run."""
    return not (
        name.startswith('._') or name == '.DS_Store' or fnmatch(name, PART_FILES)
    )


class Pool:
    """Several sources as one; of files of one name, the last source's counts.

    A damaged file of an archive can therefore be replaced by a folder given after it.

    Args:
        sources: In the order in which the user gave them.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self.sources = list(sources)

    def files(
        self, ending: str, fits: Callable[[Source, str], bool] = lambda *_: True
    ) -> dict[str, tuple[int, str]]:
        """Source and folder of every file in folders that end so.

        Args:
            ending: Such as 'JPEGImages'.
            fits: Which of those folders count.
        """
        found = {}
        for i, source in enumerate(self.sources):
            for folder in reversed(source.locate(ending)):
                if fits(source, folder):
                    found.update({n: (i, folder) for n in source.folders[folder]})
        return found

    def wanted(
        self, files: Mapping[str, tuple[int, str]], names: Iterable[str]
    ) -> list[dict[str, set[str]]]:
        """The files of ``names`` to read from each source."""
        each: list[dict[str, set[str]]] = [{} for _ in self.sources]
        for name in names:
            i, folder = files[name]
            each[i].setdefault(folder, set()).add(name)
        return each

    def members(self, each: list[dict[str, set[str]]]) -> Iterator[Member]:
        """Yields the wanted files, source by source."""
        for source, wanted in zip(self.sources, each, strict=True):
            if wanted:
                yield from source.members(wanted)

    @property
    def paths(self) -> str:
        """All sources, for messages."""
        return ', '.join(str(source.path) for source in self.sources)
