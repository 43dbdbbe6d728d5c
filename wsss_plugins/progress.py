"""Progress: a bar with rate and time left on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

T = TypeVar('T')


def _rate(done: int, seconds: float) -> str:
    return f'{done / max(seconds, 1e-9):.1f}/s'


def track(
    items: Iterable[T],
    description: str,
    total: int,
    every: float = 10.0,
    quiet: bool = False,
) -> Iterator[T]:
    """Yields ``items`` and shows how far the loop is.

    Args:
        items: What to loop over.
        description: A few words in front of the bar.
        total: How many items there are.
        every: Seconds between two lines where there is no terminal.
        quiet: Show nothing; for workers other than the first.

    Yields:
        The items, in order.
    """
    console = Console(file=sys.stderr)
    if quiet:
        yield from items
    elif console.is_terminal:
        yield from _track_bar(items, description, total, console)
    else:
        yield from _track_lines(items, description, total, every)


def _track_bar(
    items: Iterable[T], description: str, total: int, console: Console
) -> Iterator[T]:
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn('{task.fields[rate]}'),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total, rate='')
        for done, item in enumerate(items, 1):
            yield item
            progress.update(
                task, completed=done, rate=_rate(done, time.monotonic() - start)
            )


def _track_lines(
    items: Iterable[T], description: str, total: int, every: float
) -> Iterator[T]:
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= every:
            last = now
            left = (now - start) / done * (total - done)
            print(
                f'{description}: {done}/{total}, {_rate(done, now - start)}, {left:.0f} s left',
                file=sys.stderr,
                flush=True,
            )
    seconds = time.monotonic() - start
    print(
        f'{description}: {done}/{total} in {seconds:.1f} s ({_rate(done, seconds)})',
        file=sys.stderr,
        flush=True,
    )
