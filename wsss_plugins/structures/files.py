"""Writes artefacts so that a reader never finds an incomplete file."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from numpy.lib.format import write_array

from wsss_plugins.errors import DataError, UserError, unwritable

PART_FILES = '.*.part*'
"""Pattern of the names of files that are not complete yet."""


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that is renamed to it on success.

    The temporary file is removed when the block raises, and its folder is made
    when it does not exist.

    Args:
        path: The final name.

    Yields:
        The path to write to. It keeps the suffix of ``path`` and has a short name, since a
        file system may take no longer one than that of ``path``.

    Raises:
        UserError: The disk is full, the folder cannot be written to, or the name is too
            long for the file system.
    """
    path = Path(path)
    part = path.with_name(_part_name(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except Exception as error:
        line = unwritable(error, path)
        if line is None or not _is_about(error, part):
            raise
        raise UserError(line) from error
    finally:
        with suppress(OSError):  # of a read-only folder, whose error is on its way
            part.unlink(missing_ok=True)


def _is_about(error: Exception, part: Path) -> bool:
    """Whether an error names no file, or one of those being written."""
    named = getattr(error, 'filename', None)
    return named is None or Path(str(named)) in (part, *part.parents)


def _part_name(path: Path) -> str:
    """A hidden name beside ``path`` for this process, at most 60 characters long."""
    whole = f'{zlib.crc32(path.stem.encode("utf-8", "surrogateescape")):08x}'
    stem = path.stem if len(path.stem) <= 24 else f'{path.stem[:16]}{whole}'
    return f'.{stem}.{os.getpid()}.part{path.suffix}'


def save_npz(
    path: Path | str, arrays: Mapping[str, np.ndarray], level: int | None = None
) -> None:
    """Writes ``arrays`` as a compressed .npz, whole or not at all.

    Args:
        path: The file.
        arrays: The arrays, by their keys in the file.
        level: Level of deflate, 1 (fast) to 9 (small); by default that of zlib, 6.
    """
    with (
        atomic_path(path) as part,
        ZipFile(part, 'w', ZIP_DEFLATED, compresslevel=level) as archive,
    ):
        for key, array in arrays.items():
            with archive.open(f'{key}.npy', 'w', force_zip64=True) as file:
                write_array(file, np.asanyarray(array), allow_pickle=False)


def load_npz(path: Path | str) -> dict[str, np.ndarray]:
    """Reads a .npz without unpickling anything.

    Raises:
        DataError: The file is missing, truncated, or holds pickled objects.
    """
    try:
        if not Path(path).is_file() and Path(path).exists():  # a pipe is waited for
            raise ValueError('it is no file')
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise DataError(f'{path} does not exist') from error
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise DataError(
            f'{path} is no readable .npz of plain arrays ({reason}): delete it and '
            'run the stage again'
        ) from error


def save_json(path: Path | str, content: Any) -> None:
    """Writes ``content`` as indented JSON, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(
            json.dumps(content, indent=2, sort_keys=False) + '\n', encoding='utf-8'
        )


def load_json(path: Path | str) -> Any:
    """Reads JSON.

    Raises:
        DataError: The file is missing, cannot be read, or is not JSON.
    """
    try:
        if not Path(path).is_file() and Path(path).exists():
            raise ValueError('it is no file')
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise DataError(f'{path} does not exist') from error
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is no valid JSON ({error})') from error
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror})') from error
