"""Which ground-truth masks a piece of work really read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

MasksRead = dict[tuple[str, str], str]
"""Checksum of the pixels of a mask, by its folder and the id of its image."""

_watching: list[MasksRead] = []


@contextmanager
def watch_masks() -> Iterator[MasksRead]:
    """Lists the masks that data sets load in this process while the block runs.

    Yields:
        A dictionary that is filled while masks are read.
    """
    read: MasksRead = {}
    _watching.append(read)
    try:
        yield read
    finally:
        _watching[:] = [each for each in _watching if each is not read]


def note_mask(folder: Path | str | None, name: str, mask: np.ndarray) -> None:
    """Says that the mask ``(H, W)`` of image ``name`` was read, to those who watch."""
    if _watching:
        checksum = mask_checksum(mask)
        for read in _watching:
            read[str(folder), name] = checksum


def mask_checksum(mask: np.ndarray) -> str:
    """Hash of the size and the pixels of a mask ``(H, W)`` uint8, however it is packed."""
    pixels = np.ascontiguousarray(mask)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()
