"""Run-length codes of masks, as COCO writes them.

They are read here, as the C code of pycocotools trusts the lengths: it reads beyond the end of
a text that is cut off, and may write beyond the mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def run_lengths(counts: Sequence[int] | str | bytes) -> list[int]:
    """The run lengths of a code, of pixels outside and inside the mask in turn.

    In a text each is a number in digits of 5 bits from the lowest, written as the characters
    from '0' on, where 32 says that another digit follows; from the fourth number on it is the
    difference to the one before the last.

    Args:
        counts: The lengths, or the text that compresses them.

    Raises:
        ValueError: The text has another character or ends within a number, or there is no
            length, or one below 0.
    """
    if isinstance(counts, str | bytes):
        data = counts.encode() if isinstance(counts, str) else counts
        lengths = _decompressed([byte - 48 for byte in data])
    else:
        lengths = [int(length) for length in counts]
    if min(lengths, default=-1) < 0:
        raise ValueError('a code has run lengths from 0 on, at least one')
    return lengths


def _decompressed(digits: Sequence[int]) -> list[int]:
    lengths: list[int] = []
    value = shift = 0
    for digit in digits:
        if not 0 <= digit < 64:
            raise ValueError(f'the character {chr(digit + 48)!r} in run lengths')
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError('run lengths that end within a number')
    return lengths


def mask_of_lengths(lengths: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """The mask of run lengths, which go column by column.

    Args:
        lengths: Of pixels outside and inside in turn.
        size: ``(H, W)`` of the mask.

    Returns:
        ``(H, W)`` bool.

    Raises:
        ValueError: The lengths do not fill the mask.
    """
    height, width = size
    if min(size) < 1 or sum(lengths) != height * width:
        raise ValueError(f'{len(lengths)} run lengths do not fill {height} x {width}')
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(width, height).T
