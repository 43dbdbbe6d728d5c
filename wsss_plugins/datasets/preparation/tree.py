"""The tree that a preparation writes: resumable and checked, with checksums."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from wsss_plugins.datasets.preparation.sources import FolderSource, Member, Pool, Source
from wsss_plugins.errors import DataError
from wsss_plugins.progress import track
from wsss_plugins.structures import PART_FILES, atomic_path, load_json, save_json

T = TypeVar('T')

RECORD = 'prepared.json'
"""Name of the record: sources and contents of a tree, and whether it is complete."""

CHECKSUMS = 'checksums.sha256'
"""SHA-256 of every file, as ``sha256sum -c`` reads them."""

VERSION = 1
"""Version, increased whenever the same sources would give other files."""


@dataclass(frozen=True)
class Prepared:
    """Result of a preparation.

    Attributes:
        root: The data root for a config.
        counts: How many there are of what, as in the record.
        fresh: False when it was complete before.
    """

    root: Path
    counts: dict[str, int] = field(default_factory=dict)
    fresh: bool = True


class Tree:
    """A folder that is filled file by file; every file is complete or absent.

    Args:
        root: The folder.
        dataset: What is prepared, such as 'voc12'.
        pools: The sources.
        options: The choices that its content depends on.
        copy: Copy the files of folders; by default they are linked to.
        workers: Threads that decode pictures.
    """

    def __init__(
        self,
        root: Path,
        dataset: str,
        pools: Iterable[Pool],
        options: dict[str, Any],
        copy: bool = False,
        workers: int | None = None,
    ) -> None:
        self.root = root
        self.copy = copy
        self.workers = workers or min(16, os.cpu_count() or 1)
        self.sources = [source for pool in pools for source in pool.sources]
        self.in_place = any(
            root.exists() and (source.path / folder).resolve() == root.resolve()
            for source in self.sources
            for folder in {Path(f).parent for f in source.folders}
        )
        self.record: dict[str, Any] = dict(
            dataset=dataset,
            version=VERSION,
            sources=[source.identity() for source in self.sources],
            options=options,
        )
        self.sums: dict[str, str] = {}

    def begin(self, own: Iterable[str]) -> Prepared | None:
        """Claims the folder.

        Args:
            own: Files and folders that no source provides and this preparation makes.

        Returns:
            What there is, when it is complete already.

        Raises:
            DataError: The folder holds other files.
        """
        path = self.root / RECORD
        if path.exists():
            found = load_json(path)
            self._refuse_other(found)
            if found['complete']:
                return Prepared(self.root, found['counts'], fresh=False)
            self._make_way(found, own)
        else:
            self._refuse_foreign(own)
        try:
            for part in self.root.rglob(PART_FILES):
                part.unlink()
            save_json(path, {**self.record, 'complete': False})
        except OSError as error:
            raise DataError(
                f'{self.root} cannot be written to ({error.strerror}): choose another --out'
            ) from error
        return None

    def _place(self) -> Path:
        """The folder itself, or what there is above it."""
        places = (self.root, *self.root.resolve().parents)
        return next(place for place in places if place.exists())

    def _refuse_other(self, found: dict[str, Any]) -> None:
        """Refuses a tree that was made from other sources.

        An incomplete tree may be continued with more sources and other options, since a
        message may have asked for them.
        """
        keys = ['dataset', 'version']
        if found.get('complete'):
            keys.append('options')
        before = found.get('sources', [])
        if found.get('complete') or any(
            s not in self.record['sources'] for s in before
        ):
            keys.append('sources')
        for key in keys:
            if found.get(key) != self.record[key]:
                raise DataError(
                    f'{self.root} was prepared with {key} {_plain(found.get(key))}, not '
                    f'{_plain(self.record[key])}: choose another --out'
                    + ('' if self.in_place else ', or delete that folder')
                )

    def _make_way(self, found: dict[str, Any], own: Iterable[str]) -> None:
        """Removes what an earlier run wrote and this one would write otherwise."""
        if found['options'] != self.record['options']:
            for name in own:
                if (self.root / name).is_dir():
                    shutil.rmtree(self.root / name)
                else:
                    (self.root / name).unlink(missing_ok=True)
        added = [s for s in self.sources if s.identity() not in found['sources']]
        names = {n for source in added for ns in source.folders.values() for n in ns}
        if names and not self.in_place:
            for path in self.root.rglob('*'):
                if path.name in names:
                    path.unlink()

    def _refuse_foreign(self, own: Iterable[str]) -> None:
        place = self._place()
        if not place.is_dir():
            raise DataError(f'--out {place} is a file: name a folder')
        if place != self.root:
            return
        if not self.in_place and any(self.root.iterdir()):
            raise DataError(
                f'{self.root} holds files that no preparation wrote: choose another --out'
            )
        for name in own:
            if (self.root / name).exists():
                raise DataError(
                    f'{self.root / name} is there already, and not from this tool: move it '
                    'away, or choose another --out'
                )

    def bytes_for(self, pool: Pool, each: list[dict[str, set[str]]]) -> int:
        """Bytes that the wanted files will take; those that are linked to take none."""
        pairs = zip(pool.sources, each, strict=True)
        return sum(
            source.sizes(wanted)
            for source, wanted in pairs
            if self.copy or not isinstance(source, FolderSource)
        )

    def require_space(self, needed: int, there: Iterable[str] = ()) -> None:
        """Refuses a disk that is too small, before anything is written.

        Args:
            needed: Bytes to be written in all.
            there: Files that an earlier run may have written.

        Raises:
            DataError: The disk is too small; the message says how much is needed and
                how much is free.
        """
        paths = (self.root / name for name in there)
        needed -= sum(
            p.lstat().st_size for p in paths if p.is_file() and not p.is_symlink()
        )
        free = shutil.disk_usage(self._place()).free
        if needed > free:
            raise DataError(
                f'{self.root} needs {in_words(needed)} more, but its disk has only '
                f'{in_words(free)} free: free {in_words(needed - free)}, or choose another '
                '--out'
            )

    def has(self, name: str) -> bool:
        """Whether the file ``name`` was written by this run or an earlier one."""
        return (self.root / name).is_file()

    def content(self, name: str, member: Member) -> tuple[bytes, str]:
        """What to check: the file if it is there, else that of the source; and its place."""
        path = self.root / name
        if path.is_file():
            where = path.readlink() if path.is_symlink() else path
            return path.read_bytes(), str(where)
        return member.read(), member.where

    def put(self, name: str, data: bytes, link: Path | None = None) -> None:
        """Writes a file, or links to one of the same content, unless it is there.

        Args:
            name: Relative to the root, with '/'.
            data: The content.
            link: A file that has this content; None or ``copy``: write the content.
        """
        path = self.root / name
        self.sums[name] = hashlib.sha256(data).hexdigest()
        if path.is_file():
            return
        with atomic_path(path) as part:
            if link is None or self.copy:
                part.write_bytes(data)
            else:
                self.link(part, link)

    def make(self, name: str, data: bytes) -> None:
        """Writes a file of our own; one that is there is kept, and its sum taken."""
        path = self.root / name
        self.put(name, path.read_bytes() if path.is_file() else data)

    def put_file(self, name: str, source: Source, folder: str, file: str) -> None:
        """Does what :meth:`put` does, for a file that is too large for the memory."""
        path = self.root / name
        content = hashlib.sha256()
        if path.is_file():
            with path.open('rb') as old:
                for chunk in iter(lambda: old.read(1 << 20), b''):
                    content.update(chunk)
        else:
            with atomic_path(path) as part, source.open(folder, file) as new:
                link = isinstance(source, FolderSource) and not self.copy
                if link:
                    self.link(part, (source.path / folder / file).resolve())
                with Path(os.devnull if link else part).open('wb') as target:
                    for chunk in iter(lambda: new.read(1 << 20), b''):
                        content.update(chunk)
                        target.write(chunk)
        self.sums[name] = content.hexdigest()

    def link(self, part: Path, link: Path) -> None:
        """Makes ``part`` a symbolic link to ``link``.

        Raises:
            DataError: The disk takes no such links.
        """
        try:
            part.symlink_to(link)
        except (OSError, NotImplementedError) as error:
            raise DataError(
                f'the disk of {self.root} takes no symbolic links ({error}): add --copy'
            ) from error

    def discard(self, name: str) -> None:
        """Removes a file that turned out wrong, unless it is the user's own."""
        path = self.root / name
        if not self.in_place or path.is_symlink():
            path.unlink(missing_ok=True)

    def finish(self, counts: dict[str, int], checksums: bool = True) -> Prepared:
        """Says in the record that all is there.

        Args:
            counts: How many there are of what.
            checksums: Whether to write the checksums of all files; not for a data set
                that people go on to correct.
        """
        if checksums:
            lines = (f'{self.sums[name]}  {name}\n' for name in sorted(self.sums))
            with atomic_path(self.root / CHECKSUMS) as part:
                part.write_text(''.join(lines), 'utf-8')
        save_json(
            self.root / RECORD, {**self.record, 'complete': True, 'counts': counts}
        )
        return Prepared(self.root, counts)

    def each(
        self,
        items: Iterable[T],
        work: Callable[[T], object],
        description: str,
        total: int,
    ) -> None:
        """Calls ``work`` on every item in threads, with a progress bar."""
        done = in_threads(work, items, self.workers)
        for _ in track(done, description, total):
            pass


def _plain(value: Any) -> str:
    """A value of a record in words: sources by their names."""
    if isinstance(value, list):
        first = (v[0] if isinstance(v, list) else v for v in value)
        return ', '.join(map(str, first))
    if isinstance(value, dict):
        return ', '.join(f'{k}={_plain(v)}' for k, v in value.items()) or 'none'
    return str(value)


R = TypeVar('R')


def in_threads(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Yields ``work(item)`` in order; only a few items are held at a time.

    Pillow, OpenCV, hashing and the disk let other threads run meanwhile.
    """
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > 4 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def in_words(number: float) -> str:
    """Bytes as '2.1 GB'."""
    for unit in ('bytes', 'kB', 'MB'):
        if number < 1000:
            return f'{number:.0f} {unit}'
        number /= 1000
    return f'{number:.1f} GB'
