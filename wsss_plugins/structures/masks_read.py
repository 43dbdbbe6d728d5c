"""Records which ground-truth masks are read while a stage runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

MasksRead = dict[tuple[str, str], str]
"""Checksum of the pixels of a mask, by its folder and the id of its image."""

_readers: ContextVar[tuple[MasksRead, ...]] = ContextVar('masks_read', default=())


@contextmanager
def watch_masks() -> Iterator[MasksRead]:
    """Yields a record to which every mask is added that a data set loads in the block.

    A data set built in the block keeps the records for its threads (:func:`open_lists`).
    """
    read: MasksRead = {}
    token = _readers.set((*_readers.get(), read))
    try:
        yield read
    finally:
        _readers.reset(token)


open_lists = _readers.get
"""Returns the records of the :func:`watch_masks` blocks that are active."""


def note_mask(
    lists: tuple[MasksRead, ...], folder: Path | str | None, name: str, mask: np.ndarray
) -> None:
    """Adds the mask ``(H, W)`` of image ``name`` to ``lists`` and to the active records."""
    lists += open_lists()
    checksum = mask_checksum(mask) if lists else ''
    for read in lists:
        read[str(folder), name] = checksum


def mask_checksum(mask: np.ndarray) -> str:
    """Hash of the size and the pixels of a mask ``(H, W)`` uint8."""
    pixels = np.ascontiguousarray(mask)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
