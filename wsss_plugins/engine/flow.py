"""Reads ahead of a network and writes behind it, in threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from wsss_plugins.errors import DataError

A = TypeVar('A')
T = TypeVar('T')

THREADS = 4
"""Number of items that are read ahead or written behind at a time. With 1, every item is
read, computed and written before the next one is read."""


def in_threads(
    function: Callable[[A], T], items: Iterable[A], threads: int | None = None
) -> Iterator[T]:
    """Applies a function to items in threads, and yields the results in order.

    The items are taken from ``items`` in the calling thread. So two calls make a stage
    that reads ahead of its network and writes behind it; the network stays in the calling
    thread, and what is yielded has been written::

        read = in_threads(load, photos)
        for name in in_threads(save, map(network, read)):
            ...

    At most ``threads`` items are in memory at a time. The caller waits where its function
    is slower than what takes the results, or the other way round. An error of the
    function is raised in the calling thread when it is the turn of its item; items that
    are in work at that time are finished before. Decoding, compressing and computing with
    arrays release Python's lock, so that they run beside the network.

    Args:
        function: Called in several threads at once.
        items: The arguments, one for each call.
        threads: Number of threads; :data:`THREADS` by default.

    Yields:
        What the function returns for each item.
    """
    most = THREADS if threads is None else threads
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(most, initializer=_use_one_thread) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _use_one_thread() -> None:
    """Lets PyTorch use one thread in this one, since there are others beside it."""
    torch.set_num_threads(1)


def attempt(function: Callable[..., T], *arguments: Any) -> T | DataError:
    """Returns what a function returns, or the ``DataError`` that it raises.

    A thread that reads several photos of a batch hands over those that cannot be read in
    this way; :meth:`Failures.without` reports them.
    """
    try:
        return function(*arguments)
    except DataError as error:
        return error
