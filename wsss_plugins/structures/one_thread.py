"""Computes with one thread where the bits of a result must not depend on their number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch uses one thread in the block, or in the function that this decorates.

    PyTorch divides sums, and the enlargement of images, among its threads; what it rounds
    differs with their number.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
