"""Writes artefacts so that a reader never finds an incomplete file."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.errors import DataError, UserError

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
        The path to write to. It keeps the suffix of ``path``.

    Raises:
        UserError: The disk is full.
    """
    path = Path(path)
    part = path.with_name(f'.{path.stem}.{os.getpid()}.part{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(
                f'no space left to write {path}: free some space, then run the same '
                'command again'
            ) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def save_npz(path: Path | str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes ``arrays`` as a compressed .npz, whole or not at all."""
    with atomic_path(path) as part:
        np.savez_compressed(part, **arrays)  # type: ignore[arg-type]


def load_npz(path: Path | str) -> dict[str, np.ndarray]:
    """Reads a .npz without unpickling anything.

    Raises:
        DataError: The file is missing, truncated, or holds pickled objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise DataError(f'{path} does not exist') from error
    except Exception as error:
        reason = str(error).splitlines()[0]
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
        DataError: The file is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise DataError(f'{path} does not exist') from error
    except ValueError as error:
        raise DataError(f'{path} is no valid JSON ({error})') from error
