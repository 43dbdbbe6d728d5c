"""What the files hold that a stage reads from outside of its work dir, as hashes.

A hash of a file is kept in an index on this machine with the size and the times of the
file, so that a file which has not changed is not read again.
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
"""Environment variable: the folder of the index; by default one in the user's cache."""
MISSING, UNREADABLE = 'missing', 'unreadable'
"""In place of the hash of a file that does not exist, or that cannot be read."""
SETTLED_NS = 2_000_000_000
"""A file younger than this is read again: it may change within a tick of its clock."""
MANY = 2000
"""Files from which on progress is shown."""
BLOCK = 1 << 20


@dataclass(frozen=True)
class Content:
    """Files that a stage reads, and what they hold.

    Attributes:
        kind: What they are for people, such as 'photos'.
        owner: Whose they are: the name of a data set, or a folder.
        files: Hash of each file, by its path below the folder of all.
    """

    kind: str
    owner: str
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """A hash of all names and hashes, 16 hexadecimal digits."""
        total = hashlib.sha256()
        for name in sorted(self.files):
            total.update(
                f'{name}\0{self.files[name]}\n'.encode(errors='surrogateescape')
            )
        return total.hexdigest()[:16]

    def save(self, work_dir: Path) -> None:
        """Writes the hashes into a work dir, where all its stages share them."""
        path = work_dir / CONTENTS / f'{self.digest}.json'
        if not path.is_file():
            save_json(path, dict(self.files))

    def changes(self, work_dir: Path, digest: str | None) -> str:
        """In words how the files differ from those that ``digest`` is of."""
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
    """Hashes of files, kept by path, size and times on this machine.

    Several processes may use it at once: it is written whole or not at all, and what one
    overwrites of another is hashed anew the next time. Where it cannot be written, all
    files are read each time.

    Args:
        folder: Where it is kept; by default that of :data:`CACHE_VARIABLE`, or
            ``wsss_plugins/contents`` in the user's cache.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else folder
        self._entries: dict[Path, dict[str, Any]] = {}

    def content(
        self, kind: str, owner: str, root: Path, files: Sequence[Path]
    ) -> Content:
        """The hashes of some files; every worker calls it, and the first one reads.

        Args:
            kind: See :class:`Content`.
            owner: Likewise.
            root: Folder of all of them, or of most.
            files: The files; one that does not exist has the hash :data:`MISSING`.
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
        """Enters hashes into the index, but for files that were written just now."""
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
            return  # the files are then read again the next time

    def _file(self, top: Path) -> Path:
        name = hashlib.sha256(str(top).encode(errors='surrogateescape')).hexdigest()
        return self.folder / f'{name[:16]}.json'


def default_folder() -> Path:
    """Where the index is kept."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(cache) / 'wsss_plugins' / 'contents'


def file_digest(path: Path) -> str:
    """The BLAKE2b hash of a file, 32 hexadecimal digits, or :data:`UNREADABLE`.

    Whoever needs the file says what is wrong with it.
    """
    total = hashlib.blake2b(digest_size=16)
    try:
        with path.open('rb', buffering=0) as file:
            while block := file.read(BLOCK):
                total.update(block)
    except OSError:
        return UNREADABLE
    return total.hexdigest()


def _stamp(path: Path) -> list[int] | None:
    """Size and times of a file; None where there is none."""
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
    """The entries of an index; of a damaged one none."""
    try:
        files = load_json(index)['files']
        return {
            name: entry
            for name, entry in files.items()
            if isinstance(entry, list) and len(entry) == 4
        }
    except (DataError, OSError, TypeError, KeyError, AttributeError):
        return {}
