"""Reads tar and zip archives that may be truncated, damaged or malicious."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

from wsss_plugins.datasets.preparation.sources import Member, Source, Wanted
from wsss_plugins.errors import DataError

BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
"""Exceptions of the standard library for truncated or damaged archives."""


@contextmanager
def _readable(path: Path, what: str = '') -> Iterator[None]:
    """Turns errors of an archive into a ``DataError``."""
    try:
        yield
    except DataError:
        raise
    except BROKEN as error:
        if getattr(error, 'errno', None) == errno.ENOSPC:  # while writing what was read
            raise
        reason = ' '.join(str(error).split()) or type(error).__name__
        place = f'{path}: {what}' if what else f'{path}'
        raise DataError(
            f'{place} is cut off or damaged ({reason}): copy or download {path.name} again'
        ) from error


def refuse_unsafe(name: str, path: Path) -> None:
    """Refuses a member whose name leads out of the folder it is unpacked in.

    No file is ever written under the name of a member, but an archive with such names
    is not a data set.

    Raises:
        DataError: The name is absolute or has '..' in it.
    """
    parts = name.replace('\\', '/').split('/')
    if name.startswith(('/', '\\')) or parts[0].endswith(':') or '..' in parts:
        raise DataError(
            f"{path} names the file '{name}', which lies outside the archive: do not use "
            'it, download the data set from its own site'
        )


def _refuse(item: tarfile.TarInfo, _: str) -> None:
    raise tarfile.TarError(item.name)


class _Watched(io.RawIOBase):
    """A file that keeps its last block, to recognise a truncated archive."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.last = b''

    def read(self, size: int = -1) -> bytes:
        """Reads a block and remembers it."""
        self.last = self.file.read(size)
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves to a place of the file."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self.file.tell()

    def close(self) -> None:
        """Closes the file below, too."""
        self.file.close()
        super().close()


class TarSource(Source):
    """A tar, plain or compressed, read from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bytes_of: dict[str, int] = {}
        with _readable(path), self._tar() as (tar, file):
            for item in tar:
                self._check(item)
                if item.isfile():
                    self.add(item.name)
                    self.bytes_of[item.name.removeprefix('./')] = item.size
            # tarfile stops without error at a truncated or invalid header.
            if len(file.last) < tarfile.BLOCKSIZE or any(file.last):
                raise EOFError('it does not end as a tar does')
            while file.read(1 << 20):  # checks the sum at the end of a compressed file
                pass

    def _check(self, item: tarfile.TarInfo) -> None:
        """Refuses what leads outside; links within the archive are left out."""
        refuse_unsafe(item.name, self.path)
        if item.isfile() or item.isdir():
            return
        try:
            # Python 3.10.12, 3.11.4 and later
            getattr(tarfile, 'data_filter', _refuse)(item, '.')
        except tarfile.TarError as error:
            raise DataError(
                f"{self.path} holds '{item.name}', a device or a link to the outside: pack "
                'the files themselves (tar --dereference)'
            ) from error

    @contextmanager
    def _tar(self) -> Iterator[tuple[tarfile.TarFile, _Watched]]:
        with self.path.open('rb') as file:
            head = file.read(6)
        openers: dict[bytes, Any] = {
            b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ\x00': lzma.open
        }  # fmt: skip
        opener = next(
            (o for start, o in openers.items() if head.startswith(start)), open
        )
        with (
            _Watched(opener(self.path, 'rb')) as watched,
            tarfile.open(fileobj=watched, mode='r:') as tar,
        ):
            yield tar, watched

    def identity(self) -> list[Any]:
        """Name and bytes."""
        return [self.path.name, self.path.stat().st_size]

    def members(self, wanted: Wanted) -> Iterator[Member]:
        """In the order of the archive, so that it is unpacked once."""
        with _readable(self.path), self._tar() as (tar, _):
            for item in tar:
                folder, _, name = item.name.removeprefix('./').rpartition('/')
                if item.isfile() and name in wanted.get(folder, ()):
                    content = tar.extractfile(item)
                    data = content.read() if content is not None else b''
                    if len(data) < item.size:
                        raise EOFError(f'{item.name} is not whole')
                    yield Member(name, f'{self.path}: {item.name}', None, data)

    def sizes(self, wanted: Wanted) -> int:
        """Sizes from the headers."""
        names = (f'{f}/{n}' if f else n for f, ns in wanted.items() for n in ns)
        return sum(self.bytes_of[name] for name in names)

    @contextmanager
    def open(self, folder: str, name: str) -> Iterator[IO[bytes]]:
        """Reads the archive up to that file."""
        full = f'{folder}/{name}' if folder else name
        with _readable(self.path, full), self._tar() as (tar, _):
            for item in tar:
                if item.isfile() and item.name.removeprefix('./') == full:
                    content = tar.extractfile(item)
                    if content is not None:
                        yield content
                    return


class ZipSource(Source):
    """A zip; each file in it has a checksum that reading compares."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with _readable(path), zipfile.ZipFile(path) as archive:
            for item in archive.infolist():
                refuse_unsafe(item.filename, path)
                if item.flag_bits & 1:
                    raise DataError(
                        f"{path} has a password on '{item.filename}': unpack it first and "
                        'give the folder'
                    )
                if not item.is_dir():
                    self.add(item.filename)

    def identity(self) -> list[Any]:
        """Name and bytes."""
        return [self.path.name, self.path.stat().st_size]

    def members(self, wanted: Wanted) -> Iterator[Member]:
        """In the order of the archive."""
        with _readable(self.path), zipfile.ZipFile(self.path) as archive:
            for item in archive.infolist():
                folder, _, name = item.filename.removeprefix('./').rpartition('/')
                if not item.is_dir() and name in wanted.get(folder, ()):
                    with _readable(self.path, item.filename):
                        data = archive.read(item)
                    yield Member(name, f'{self.path}: {item.filename}', None, data)

    def sizes(self, wanted: Wanted) -> int:
        """Sizes from the directory of the archive."""
        with zipfile.ZipFile(self.path) as archive:
            bytes_of = {
                i.filename.removeprefix('./'): i.file_size for i in archive.infolist()
            }
        names = (f'{f}/{n}' if f else n for f, ns in wanted.items() for n in ns)
        return sum(bytes_of[name] for name in names)

    def open(self, folder: str, name: str) -> AbstractContextManager[IO[bytes]]:
        """Unpacks as it is read."""
        return self._opened(f'{folder}/{name}' if folder else name)

    @contextmanager
    def _opened(self, full: str) -> Iterator[IO[bytes]]:
        with _readable(self.path, full), zipfile.ZipFile(self.path) as archive:
            names = [n for n in archive.namelist() if n.removeprefix('./') == full]
            with archive.open(names[-1]) as file:
                yield file
