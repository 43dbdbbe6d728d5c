"""Hashes of the files that a stage reads from outside of its work dir.

An index on this machine stores the hash of each file with its size and times, so that a
file that has not changed is not read again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_plugins.engine.workers import gather, rank
from wsss_plugins.errors import DataError, UserError
from wsss_plugins.progress import ProgressBar
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.layout import CONTENTS

CACHE_VARIABLE = 'WSSS_PLUGINS_CACHE'
"""Environment variable with the folder of the index; by default one in the user's cache."""
MISSING, UNREADABLE = 'missing', 'unreadable'
"""Stand for the hash of a file that does not exist, and of one that cannot be read."""
SETTLED_NS = 2_000_000_000
"""Age in nanoseconds below which the hash of a file is not stored in the index: the file
may still change without a visible change of its times."""
MANY = 2000
"""Number of files from which on a progress bar is shown."""
BLOCK = 1 << 20


@dataclass(frozen=True)
class Content:
    """Hashes of files of one kind that a stage reads.

    Attributes:
        kind: Kind of the files, such as 'photos'.
        owner: Name of their data set, or their folder.
        files: Hash of each file, by its path relative to the common folder.
    """

    kind: str
    owner: str
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One hash of all paths and hashes, 16 hexadecimal digits."""
        total = hashlib.sha256()
        for name in sorted(self.files):
            total.update(
                f'{name}\0{self.files[name]}\n'.encode(errors='surrogateescape')
            )
        return total.hexdigest()[:16]

    def save(self, work_dir: Path) -> None:
        """Writes the hashes into a work dir, in a file that all its stages share."""
        path = work_dir / CONTENTS / f'{self.digest}.json'
        if not path.is_file():
            save_json(path, dict(self.files))

    def changes(self, work_dir: Path, digest: str | None) -> str:
        """Text of the differences to earlier files.

        Args:
            work_dir: Folder that has the hashes of the earlier files.
            digest: The value of :attr:`digest` for them; None if there were none.
        """
        where = f'({self.owner})'
        if digest is None:
            return f'data: {self.kind} were not read {where}'
        try:
            before = load_json(work_dir / CONTENTS / f'{digest}.json')
        except DataError:
            return f'data: {self.kind} changed {where}'
        parts = []
        kinds = dict(
            changed=[n for n, d in self.files.items() if before.get(n, d) != d],
            new=[n for n in self.files if n not in before],
            gone=[n for n in before if n not in self.files],
        )
        for word, names in kinds.items():
            if names:
                total = len(before) if word == 'gone' else len(self.files)
                first = Path(min(names)).name
                parts.append(
                    f'{len(names)} of {total} {self.kind} {word}, first {first}'
                )
        return f'data: {", ".join(parts) or f"{self.kind} changed"} {where}'


class ContentIndex:
    """An index of hashes of files by path, size and times, stored on this machine.

    Several processes may use the index at once. It is replaced as a whole; entries of
    another process that are lost in this way are computed again the next time. If the
    index cannot be written, all files are read each time.

    Args:
        folder: Folder of the index; by default the one that :data:`CACHE_VARIABLE` names,
            or ``wsss_plugins/contents`` in the user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else folder
        self._entries: dict[Path, dict[str, Any]] = {}

    def content(
        self, kind: str, owner: str, root: Path, files: Sequence[Path]
    ) -> Content:
        """Hashes files; every worker calls this method, and only the first one reads.

        Args:
            kind: Kind of the files, such as 'photos'.
            owner: Name of their data set, or their folder.
            root: Folder of all or most of the files.
            files: Paths of the files. A file that does not exist gets :data:`MISSING`.
        """
        found = self._hashes(root, files) if rank() == 0 else {}
        return Content(kind, owner, gather(found)[0])

    def _hashes(self, root: Path, files: Sequence[Path]) -> dict[str, str]:
        top = root.absolute()
        paths = {_below(root, path): path for path in files}
        index = self._file(top)
        known = self._entries.setdefault(top, _load(index))
        found, todo = {}, {}
        for name, path in paths.items():
            stamp = _stamp(path)
            entry = known.get(name)
            if stamp is None:
                found[name] = MISSING
            elif entry is not None and entry[:-1] == stamp:
                found[name] = entry[-1]
            else:
                todo[name] = path, stamp
        if todo:
            fresh = self._read(str(root), todo)
            found.update({name: digest for name, (_, digest) in fresh.items()})
            self._keep(index, top, fresh)
        return {name: found[name] for name in paths}

    def _read(
        self, root: str, todo: Mapping[str, tuple[Path, list[int]]]
    ) -> dict[str, tuple[list[int], str]]:
        fresh = {}
        bar = ProgressBar(f'look at files of {root}', len(todo), quiet=len(todo) < MANY)
        with bar, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            digests = pool.map(file_digest, (path for path, _ in todo.values()))
            for (name, (_, stamp)), digest in zip(todo.items(), digests, strict=True):
                fresh[name] = stamp, digest
                bar.advance()
        return fresh

    def _keep(
        self, index: Path, top: Path, fresh: Mapping[str, tuple[list[int], str]]
    ) -> None:
        """Stores hashes in the index, except those of files that were just written."""
        settled = time.time_ns() - SETTLED_NS
        lasting = {
            name: [*stamp, digest]
            for name, (stamp, digest) in fresh.items()
            if max(stamp[1:]) < settled and digest != UNREADABLE
        }
        if not lasting:
            return
        self._entries[top] = {**_load(index), **self._entries[top], **lasting}
        try:
            save_json(index, dict(folder=str(top), files=self._entries[top]))
        except (UserError, OSError):
            return  # the files are read again the next time

    def _file(self, top: Path) -> Path:
        name = hashlib.sha256(str(top).encode(errors='surrogateescape')).hexdigest()
        return self.folder / f'{name[:16]}.json'


def default_folder() -> Path:
    """The default folder of the index."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(cache) / 'wsss_plugins' / 'contents'


def file_digest(path: Path) -> str:
    """The BLAKE2b hash of a file, 32 hexadecimal digits.

    A file that cannot be read gives :data:`UNREADABLE`; the stage that reads it raises an
    error with the reason.
    """
    total = hashlib.blake2b(digest_size=16)
    try:
        if not path.is_file():  # a pipe or a device may have no end
            return UNREADABLE
        with path.open('rb', buffering=0) as file:
            while block := file.read(BLOCK):
                total.update(block)
    except OSError:
        return UNREADABLE
    return total.hexdigest()


def _stamp(path: Path) -> list[int] | None:
    """Size and times of a file; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _below(top: Path, path: Path) -> str:
    whole, start = str(path), f'{top}{os.sep}'
    return (
        whole[len(start) :] if whole.startswith(start) else os.path.relpath(path, top)
    )


def _load(index: Path) -> dict[str, Any]:
    """The entries of an index; empty if it is missing or damaged."""
    try:
        files = load_json(index)['files']
        return {
            name: entry
            for name, entry in files.items()
            if isinstance(entry, list) and len(entry) == 4
        }
    except (DataError, OSError, TypeError, KeyError, AttributeError):
        return {}
