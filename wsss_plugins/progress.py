"""Progress: a bar with rate and time left on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
)

T = TypeVar('T')

STEPS_TO_TELL = 10
"""Steps after which the time that is left is estimated; fewer where there are few."""
SHARE_TO_TELL = 0.05
"""Share of a short loop after which its time is estimated."""
SECONDS_TO_TELL = 5.0
"""No estimate is made earlier."""


class ProgressBar:
    """Shows how far a loop is; a context manager.

    Args:
        description: A few words in front of the bar.
        total: How many steps there are.
        quiet: Show nothing; for workers other than the first.
        every: Seconds between two lines where there is no terminal.
    """

    def __init__(
        self, description: str, total: int, quiet: bool = False, every: float = 10.0
    ) -> None:
        self.description = description
        self.total = total
        self.quiet = quiet
        self.every = every
        self.done = 0
        self._begin = 0
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> ProgressBar:
        """Starts the clock, and draws the bar on a terminal."""
        self._start = self._last = time.monotonic()
        console = Console(file=sys.stderr)
        if console.is_terminal and not self.quiet:
            self._bar = Progress(
                TextColumn('{task.description}'),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn('{task.fields[rate]}'),
                TextColumn('{task.fields[left]}'),
                TextColumn('{task.fields[note]}'),
                console=console,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self.description, total=self.total, rate='', left='', note=''
            )
        return self

    def begin_at(self, done: int) -> None:
        """Tells that ``done`` steps were made by an earlier run."""
        self.done = self._begin = done

    def advance(self, steps: int = 1, note: str = '') -> None:
        """Counts ``steps`` and shows ``note`` behind them."""
        self.done += steps
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=self.done,
                rate=self._rate(now),
                left=self._left(now),
                note=note,
            )
        elif now - self._last >= self.every:
            self._last = now
            left = self._left(now)
            text = self._rate(now)
            self._line(f'{text}, {left}' if left else text, note)

    def say(self, text: str) -> None:
        """Writes a line of its own above the bar, also when the bar is quiet."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the bar; where there is no terminal, writes how long the loop took."""
        now = time.monotonic()
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            self._line(f'in {now - self._start:.1f} s, {self._rate(now)}', '')

    def _rate(self, now: float) -> str:
        seconds = max(now - self._start, 1e-9)
        return f'{(self.done - self._begin) / seconds:.1f}/s'

    def _left(self, now: float) -> str:
        """How long the rest takes; empty before the first steps can tell.

        The first steps hold what happens once, such as loading a model and filling
        caches. So there is no estimate before :data:`STEPS_TO_TELL` steps, or a
        :data:`SHARE_TO_TELL` of the loop, after :data:`SECONDS_TO_TELL`.
        """
        made, seconds = self.done - self._begin, now - self._start
        enough = min(STEPS_TO_TELL, SHARE_TO_TELL * (self.total - self._begin))
        if made < max(enough, 1) or seconds < SECONDS_TO_TELL:
            return ''
        return f'{duration(seconds / made * (self.total - self.done))} left'

    def _line(self, text: str, note: str) -> None:
        if not self.quiet:
            line = f'{self.description}: {self.done}/{self.total}, {text}'
            print(f'{line}, {note}' if note else line, file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Writes a line for people, where no bar is shown."""
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """A duration in words, with two units at most.

    Args:
        seconds: 0 or more.

    Returns:
        Such as '40 s', '5 min', '2 h 5 min' or '3 d 4 h'.
    """
    if seconds < 99.5:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    if minutes < 60:
        return f'{minutes} min'
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f'{hours} h {minutes} min' if minutes else f'{hours} h'
    days, hours = divmod(round(seconds / 3600), 24)
    return f'{days} d {hours} h' if hours else f'{days} d'


def track(
    items: Iterable[T], description: str, total: int, quiet: bool = False
) -> Iterator[T]:
    """Yields ``items`` and shows how far the loop is; see :class:`ProgressBar`.

    Args:
        items: What to loop over.
        description: A few words in front of the bar.
        total: How many items there are.
        quiet: Show nothing.

    Yields:
        The items, in order.
    """
    with ProgressBar(description, total, quiet) as bar:
        for item in items:
            yield item
            bar.advance()
