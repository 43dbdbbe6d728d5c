"""A run of a pipeline that is ended at a random moment; see kill_campaign.py."""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tests'))

from processes import INSTALLED, SERVER, Script  # noqa: E402  (of the tests)

CONFIG = ROOT / 'benchmarks/kill_pipeline.py'
PATIENCE = 30
"""Seconds within which all workers end after one of them was killed."""
WINDOW = 0.2
"""Share of the time of an uninterrupted run within which a kill comes."""
FILES = 40
"""Files of a process among which one is chosen for a kill within its writing."""


def keep_warm(folder: Path) -> None:
    """Lets one process import the package and read its code for all runs.

    Args:
        folder: With the data; it becomes the working directory.
    """
    os.chdir(folder)
    places = [ROOT, ROOT / 'tests', ROOT / 'benchmarks', os.environ.get('PYTHONPATH')]
    os.environ['PYTHONPATH'] = os.pathsep.join(str(p) for p in places if p)
    SERVER.set_forkserver_preload([*INSTALLED.split(), 'warm_pipeline'])


def prepare() -> None:
    """Prepares a run: its records hold no times, and it looks at its data no more.

    The checks before work, which take longer than the stages, write nothing. A shell starts
    what runs in the background deaf to Ctrl-C, as this campaign; its runs hear it.
    """
    import warm_pipeline

    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.register(signal.SIGUSR1)
    from wsss_plugins.experiment import pipeline

    moment = SimpleNamespace(isoformat=lambda timespec: '2000-01-01T00:00:00')
    pipeline.time = SimpleNamespace(monotonic=lambda: 0.0)
    pipeline.datetime = SimpleNamespace(now=lambda: moment)
    pipeline.CodeDigests = lambda: warm_pipeline.SOURCES
    pipeline.Pipeline.look = lambda *_: []
    pipeline.Pipeline.refuse_mistakes = lambda *_: None


def die_writing(count: int, share: float, renamed: bool) -> None:
    """Kills this process when it finishes a file.

    Args:
        count: How many files it finishes before.
        share: The part of the file that is written.
        renamed: Whether the file has its final name.
    """
    prepare()
    replace, left = Path.replace, count

    def replace_or_die(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left >= 0:
            return replace(self, target)
        if renamed:
            replace(self, target)
        else:
            os.truncate(self, int(share * self.stat().st_size))
        os.kill(os.getpid(), signal.SIGKILL)
        return target

    Path.replace = replace_or_die  # type: ignore[method-assign]


@dataclass(frozen=True)
class Moment:
    """When and how a run is ended.

    Attributes:
        number: The signal.
        all: Whether all processes are sent the signal.
        worker: The worker that dies within the writing of a file.
        share: Of the time of an uninterrupted run, that passes before; it begins with the
            first stage, or with the command if ``early``.
        early: Whether it may come before the first stage.
        write: Arguments of :func:`die_writing`; None for a moment in time.
    """

    number: int
    all: bool
    worker: int
    share: float
    early: bool
    write: tuple[int, float, bool] | None

    @classmethod
    def drawn(cls, chance: random.Random, share: float) -> Moment:
        """A random moment; a share of them are Ctrl-C or SIGTERM."""
        asked = chance.random() < share
        number = chance.choice([signal.SIGINT, signal.SIGTERM])
        write = (chance.randrange(FILES), chance.random(), chance.random() < 0.3)
        writing, early = chance.random() < 0.4, chance.random() < 0.1
        return cls(
            number=number if asked else signal.SIGKILL,
            all=chance.random() < 0.5,
            worker=chance.randrange(2),
            share=chance.uniform(0, WINDOW),
            early=early and (asked or not writing),
            write=write if writing and not asked else None,
        )

    def how(self) -> str:
        """The column of the table."""
        if self.number != signal.SIGKILL:
            return signal.Signals(self.number).name
        if self.write:
            return 'SIGKILL in a file'
        return 'SIGKILL, all' if self.all else 'SIGKILL, one'

    @property
    def word(self) -> str:
        """What a run says that was asked to end."""
        words = {signal.SIGINT: 'interrupted', signal.SIGTERM: 'ended by SIGTERM'}
        return words.get(signal.Signals(self.number), '')


class Run:
    """One start of the pipeline, with one worker or several.

    Args:
        folder: With the data; the working directory.
        work_dir: Of the pipeline.
        count: Number of workers.
        moment: When the run is to be ended; None for one that is to finish.
        seconds: What the stages take in an uninterrupted run.
    """

    def __init__(
        self,
        folder: Path,
        work_dir: Path,
        count: int,
        moment: Moment | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.work_dir, self.moment, self.seconds = work_dir, moment, seconds
        self.before = times_of_records(work_dir)
        command = [ROOT / 'tools/run_pipeline.py', CONFIG, '--work-dir', work_dir]
        write, port = moment.write if moment else None, free_port()
        mortal = moment.worker % count if moment else 0
        self.workers = []
        for rank in range(count):
            dies = write is not None and rank == mortal
            before = partial(die_writing, *write) if write and dies else prepare
            env = environment(rank, count, port)
            self.workers.append(Script(command, folder, env, before))

    def finish(self, faults: list[str]) -> None:
        """Waits for the end, which must be a good one."""
        for done in [worker.wait(600) for worker in self.workers]:
            if done.returncode:
                faults.append(
                    f'a run ended with {done.returncode}: {done.stderr[-800:]}'
                )

    def interrupt(self, chance: random.Random, faults: list[str]) -> bool:
        """Ends the run at its moment; False if it has finished before."""
        moment = self.moment
        if moment is None or not self._wait_for_moment():
            self.finish(faults)
            return False
        patience, workers = PATIENCE, [worker.pid for worker in self.workers]
        every = [process for worker in workers for process in members(worker)]
        if moment.number == signal.SIGTERM:
            send(workers, signal.SIGTERM)
        elif moment.number == signal.SIGINT or moment.all:
            send(every, moment.number)  # a terminal sends Ctrl-C to all
        elif moment.write is None:
            victim = chance.choice(every or workers)  # all may have ended by now
            if victim not in workers:
                patience = 600  # a helper may have done its work, and the run goes on
            send([victim], signal.SIGKILL)
        begin = time.monotonic()
        ends = [wait(worker, patience) for worker in self.workers]
        how, said = moment.how(), '\n'.join(end.stderr for end in ends)
        if time.monotonic() - begin >= patience:
            faults.append(f'a worker hung after {how}: {said[-2000:]}')
        if 'Traceback' in said and not moment.early:
            faults.append(f'a traceback after {how}: {said[-2000:]}')
        finished = not any(end.returncode for end in ends)
        if moment.word not in said and not (moment.early or finished):
            faults.append(f'no word after {how}: {said[-800:]}')
        return True

    def _wait_for_moment(self) -> bool:
        """Waits until the run is to be ended; False if it has finished before."""
        moment, begin = self.moment, time.monotonic()
        assert moment is not None
        first = begin if moment.early else None
        while all(worker.code is None for worker in self.workers):
            now = time.monotonic()
            if first is None and times_of_records(self.work_dir) != self.before:
                first = now
            if (
                moment.write is None
                and first
                and now > first + moment.share * self.seconds
            ):
                return True
            time.sleep(0.01)
        return any(worker.code == -signal.SIGKILL for worker in self.workers)


def wait(worker: Script, patience: float) -> subprocess.CompletedProcess[str]:
    """Waits for the end of a worker; one that hangs says where it is, and is killed."""
    end = time.monotonic() + patience
    while worker.code is None and time.monotonic() < end:
        time.sleep(0.05)
    if worker.code is None:
        send([worker.pid], signal.SIGUSR1)
        time.sleep(1)
    return worker.wait(0)


def environment(rank: int, count: int, port: str) -> dict[str, str]:
    """The variables that torchrun sets for a worker; none for a worker alone."""
    if count == 1:
        return {}
    return dict(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count),
        MASTER_ADDR='127.0.0.1', MASTER_PORT=port,
    )  # fmt: skip


def free_port() -> str:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def members(session: int) -> list[int]:
    """The processes of a session that do work for it."""
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        with suppress(OSError, ValueError):  # it has ended meanwhile
            state = (folder / 'stat').read_text().rpartition(')')[2].split()
            command = (folder / 'cmdline').read_bytes()
            works = state[0] != 'Z' and b'resource_tracker' not in command
            if int(state[3]) == session and works:
                found.append(int(folder.name))
    return sorted(found)


def send(processes: list[int], number: int) -> None:
    """Sends a signal to processes, as far as they are there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def times_of_records(work_dir: Path) -> dict[Path, int]:
    """When the record of every stage was written."""
    return {path: path.stat().st_mtime_ns for path in work_dir.glob('*/record.json')}
