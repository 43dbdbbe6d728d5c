"""The commands, called in this process, and what may come out of one that was fed anything.

A command either does its work or ends with one line and exit code 2. It may not end in
another way, take longer than :data:`SECONDS`, need more memory than :data:`MEMORY`, change
a file that it only reads, leave a file that is not complete, or run code out of its data.
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import runpy
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer

from wsss_plugins.structures import PART_FILES

ROOT = Path(__file__).parents[2]
SECONDS = 60
"""Time after which a command counts as one that hangs."""
MEMORY = 4 << 30
"""Bytes that a command may take beyond what this process has."""
ONE_LINE, RAN_RIGHT, ELSE = 'one line', 'ran right', 'anything else'
"""How a case may end, and how not."""
NOTES = 'ended.txt'
"""Name of the file in which a door notes how commands ended."""
TRACE = 'it_ran'
"""Name of the file that planted code makes."""


class Hang(BaseException):
    """A command did not end in time; no ``except Exception`` swallows it."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code.
        said: What it wrote to its output.
        line: The one line of its error; '' where it did its work.
    """

    code: int
    said: str
    line: str

    @property
    def refused(self) -> bool:
        """Whether it ended with one line and exit code 2."""
        return self.code == 2


class Door:
    """Calls commands and insists on what every one of them promises.

    Args:
        capfd: Pytest's capture of both outputs.
        monkeypatch: Pytest's.
        place: A folder with all that the command may read and write.
    """

    def __init__(
        self, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, place: Path
    ) -> None:
        self.capfd, self.monkeypatch, self.place = capfd, monkeypatch, place

    def __call__(
        self, tool: str, *words: object, kept: Path | None = None, codes: tuple = ()
    ) -> Ended:
        """Runs ``tools/<tool>.py``.

        Args:
            tool: Its name.
            words: The rest of the command line.
            kept: A folder that the command may read and not change.
            codes: Exit codes that are right beside 0 and 2.
        """
        before = snapshot(kept)
        for kind in (MMLogger, Visualizer):  # of which mmengine makes one a second
            kind._instance_dict.clear()
        self.capfd.readouterr()
        self.monkeypatch.setattr(sys, 'argv', [f'{tool}.py', *map(str, words)])
        self.monkeypatch.chdir(ROOT)
        self.monkeypatch.setattr(os, 'cpu_count', lambda: 1)  # one process is enough
        code: object = 0
        try:
            with limits(SECONDS, MEMORY):
                runpy.run_path(str(ROOT / 'tools' / f'{tool}.py'), run_name='__main__')
        except SystemExit as left:
            code = left.code or 0
        out, err = self.capfd.readouterr()
        assert code in (0, 2, *codes), f'exit code {code!r}: {err}'
        assert 'Traceback' not in out + err, err
        line = ''
        if code == 2:
            line = err.splitlines()[-1]
            assert line.startswith('error: '), err
            assert err.count('error: ') == 1, err
            line = line.removeprefix('error: ')
        assert snapshot(kept) == before, 'a file that is only read has changed'
        assert not list(self.place.rglob(PART_FILES)), 'a file is not complete'
        assert not list(self.place.rglob(TRACE)), 'planted code ran'
        ended = Ended(code, out, line)
        with (self.place / NOTES).open('a') as notes:  # a child process may write here
            notes.write(f'{ONE_LINE if ended.refused else RAN_RIGHT}\n')
        return ended

    @property
    def how(self) -> str:
        """How the commands of this test ended: with one line, if one of them did."""
        notes = self.place / NOTES
        said = notes.read_text().splitlines() if notes.is_file() else []
        return ONE_LINE if ONE_LINE in said else RAN_RIGHT


def snapshot(folder: Path | None) -> dict[str, object]:
    """Every file, link and folder below ``folder``, with what can be told without reading."""
    found: dict[str, object] = {}
    for path in () if folder is None else sorted(folder.rglob('*')):
        state = path.lstat()
        found[str(path)] = state.st_mode, state.st_size, state.st_mtime_ns, state.st_ino
    return found


@contextmanager
def limits(seconds: float, memory: int) -> Iterator[None]:
    """Limits the time and the memory of the block.

    Raises:
        Hang: The block took longer than ``seconds``.
    """

    def ring(*_: object) -> None:
        raise Hang(f'no end after {seconds} s')

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _taken() + memory
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    handler = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        gc.collect()


def _taken() -> int:
    """Bytes of address space that this process has now."""
    try:
        pages = Path('/proc/self/statm').read_text('utf-8').split()[0]
    except OSError:
        pytest.skip('this system does not say how much memory a process has')
    return int(pages) * resource.getpagesize()


@contextmanager
def without_privileges(locked: Path) -> Iterator[None]:
    """Makes permissions of files count for root too, in this thread and those it starts.

    Args:
        locked: A file or folder that cannot be read or written without privileges.
    """
    if os.geteuid() == 0:
        before = _capabilities()
        _capabilities(before[0] & ~0b110)  # DAC_OVERRIDE and DAC_READ_SEARCH
    try:
        if os.access(locked, os.R_OK, effective_ids=True) and os.access(
            locked, os.W_OK, effective_ids=True
        ):
            pytest.skip('permissions of files do not count for this user')
        yield
    finally:
        if os.geteuid() == 0:
            _capabilities(before[0])


def _capabilities(effective: int | None = None) -> tuple[int, ...]:
    """Reads the capabilities of this thread (low words), or sets the effective ones."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        head = (ctypes.c_uint32 * 2)(0x20080522, 0)
        data = (ctypes.c_uint32 * 6)()
        assert libc.capget(head, data) == 0
        if effective is not None:
            data[0] = effective
            head = (ctypes.c_uint32 * 2)(0x20080522, 0)
            assert libc.capset(head, data) == 0
        return tuple(data)
    except (OSError, AttributeError, AssertionError):
        pytest.skip('the privileges of this process cannot be taken away')
