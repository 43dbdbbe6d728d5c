"""Recognises a download by its first bytes and opens it."""

from __future__ import annotations

import pickletools
from collections.abc import Collection
from pathlib import Path

from wsss_plugins.datasets.preparation.archives import TarSource, ZipSource
from wsss_plugins.datasets.preparation.sources import (
    FileSource,
    FolderSource,
    Source,
)
from wsss_plugins.errors import DataError


def open_source(path: Path, suffixes: Collection[str] = ()) -> Source:
    """Opens a folder, tar or zip, told by its content.

    Args:
        path: Path that the user gave.
        suffixes: Other files that are allowed, such as '.json'.

    Raises:
        DataError: ``path`` does not exist, is damaged, or is neither a folder, a tar, a
            zip nor a file with one of ``suffixes``.
    """
    if path.is_dir():
        return FolderSource(path)
    kind = kind_of(path)
    if kind == 'zip':
        return ZipSource(path)
    if kind == 'tar':
        return TarSource(path)
    if path.suffix in suffixes:
        return FileSource(path)
    raise DataError(
        f'{path} is {kind}: give a folder, a tar or a zip'
        + ''.join(f' or a {s} file' for s in suffixes)
    )


STARTS = {
    b'PK\x03\x04': 'zip',
    b'PK\x05\x06': 'zip',
    b'\x1f\x8b': 'tar',
    b'BZh': 'tar',
    b'\xfd7zXZ\x00': 'tar',
    b'\x89HDF': 'an HDF5 file',
    b'MATLAB 5.0': 'a file of MATLAB 5',
    b'\xff\xd8\xff': 'a JPEG picture',
    b'\x89PNG': 'a PNG picture',
    b'\x93NUMPY': 'a NumPy file, which may hold pickled objects and is not read',
    b'version https://git-lfs': 'a pointer of Git LFS (run `git lfs pull`)',
}


def kind_of(path: Path) -> str:
    """The kind of a file by its first bytes: 'tar', 'zip' or a description.

    Raises:
        DataError: ``path`` does not exist or cannot be read.
    """
    try:
        with path.open('rb') as file:
            head = file.read(2048)
    except FileNotFoundError as error:
        raise DataError(f'{path} does not exist: correct the path') from error
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror})') from error
    if not head:
        return 'an empty file: download it again'
    if head[257:262] == b'ustar':
        return 'tar'
    for start, kind in STARTS.items():
        if head.startswith(start):
            return kind
    if head.lstrip()[:1] == b'<':
        return 'a page of HTML or XML, perhaps of a failed download'
    if _is_pickle(head):
        return 'a pickle, which could run code and is never read'
    return 'tar' if path.name.endswith(('.tar', '.tgz')) else 'no folder or archive'


def _is_pickle(head: bytes) -> bool:
    """Whether the bytes begin a pickle; they are only disassembled, not run."""
    if head[:1] != b'\x80':
        return False
    try:
        next(pickletools.genops(head))
    except (ValueError, StopIteration):
        return False
    return head[1] <= 5
