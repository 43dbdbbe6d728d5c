"""Starts the workers of one machine with torchrun, and ends them with those of others.

The launchers of a run on several machines meet in a store of torch, which that of machine 0
serves. If a worker or a launcher ends too early, every launcher ends its workers and says
why in one line.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from wsss_plugins.ending import GO_ON, LAUNCHER, interrupted_by, leave
from wsss_plugins.errors import UserError

PATIENCE = 600
"""Seconds for which the launchers wait for each other at the start."""
SILENCE = 15
"""Seconds without a sign of life after which a launcher counts as dead."""
DEFAULT_PORT = 29500
"""Port of machine 0 at which several machines meet unless another is named."""


@dataclass(frozen=True)
class Place:
    """This machine in a run.

    Attributes:
        machines: Number of machines.
        index: Index of this machine, from 0 on.
        address: Name or address of machine 0.
        port: Port of machine 0 at which all meet; None for any that is free.
    """

    machines: int = 1
    index: int = 0
    address: str = '127.0.0.1'
    port: int | None = None

    def __post_init__(self) -> None:
        """Checks the index.

        Raises:
            UserError: There is no machine with this index.
        """
        if not 0 <= self.index < self.machines:
            raise UserError(
                f'NODE_RANK={self.index}: with NNODES={self.machines} the machines have the '
                f'indices 0 to {self.machines - 1}'
            )


def launch(place: Place, workers: int, command: Sequence[str]) -> NoReturn:
    """Runs a tool with several workers; ends the process with one line if one of them fails.

    The exit code is that of the worker that failed first, or 128 and the number of the
    signal that ended the run.

    Args:
        place: This machine.
        workers: Number of workers on this machine.
        command: A Python script and its options.

    Raises:
        UserError: The port is in use, or another machine does not come.
    """
    quiet = 'TORCH_CPP_LOG_LEVEL' not in os.environ
    if quiet:  # of connections that end, with tracebacks in C++
        os.environ['TORCH_CPP_LOG_LEVEL'] = 'ERROR'
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    if quiet:
        del os.environ['TORCH_CPP_LOG_LEVEL']
    os.environ[LAUNCHER] = str(os.getpid())
    meeting = Meeting(place)
    line, code = '', 0
    try:
        _run(place, meeting.port, workers, command)
    except ChildFailedError as error:
        line, code = _said_of(*error.get_first_failure())
    except SignalException as error:
        line, code = interrupted_by(error.sigval), 128 + error.sigval
    except KeyboardInterrupt:  # before torchrun listens to signals
        if not meeting.verdict:
            meeting.leave(interrupted_by(signal.SIGINT), 128 + signal.SIGINT)
            raise
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    line, code = meeting.leave(line, code)
    if line:
        leave(line, code)
    sys.exit(code)


def _run(place: Place, port: int, workers: int, command: Sequence[str]) -> None:
    """Runs torchrun."""
    from torch.distributed.run import parse_args, run

    options = dict(
        nnodes=place.machines, node_rank=place.index, nproc_per_node=workers,
        master_addr=place.address, master_port=port,
    )  # fmt: skip
    words = [f'--{key}={value}' for key, value in options.items()]
    logging.disable(logging.ERROR)  # a worker that fails prints the error itself
    run(parse_args([*words, *command]))


def _said_of(rank: int, failure: Any) -> tuple[str, int]:
    """The line and the exit code for the worker that failed first."""
    who, code = f'worker {rank} (process {failure.pid})', failure.exitcode
    if code == 2:
        return '', code  # it has said what to mend
    if code == 128 + signal.SIGINT:
        return interrupted_by(signal.SIGINT), code
    if code >= 0:
        return f'{who} ended with exit code {code}: its message is above', code
    name = signal.Signals(-code).name
    why = ', perhaps for lack of memory' if -code == signal.SIGKILL else ''
    return f'{who} was killed by {name}{why}: {GO_ON}', 1


class Meeting:
    """The launchers of all machines of a run; they tell each other how it ends.

    Args:
        place: This machine.

    Raises:
        UserError: The port is in use, or another machine does not come within
            :data:`PATIENCE`.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.store = self._join() if place.index else self._serve()
        self.port = int(self.store.port)
        self.verdict = ''
        self._over = threading.Event()
        if place.machines > 1:
            self._wait_for_all()
            threading.Thread(target=self._watch, daemon=True).start()

    def leave(self, line: str, code: int) -> tuple[str, int]:
        """Tells the other launchers how the run ended on this machine.

        Args:
            line: What is said here; empty where a worker has said it.
            code: The exit code; 0 after a run without errors.

        Returns:
            The line and the exit code, which follow from another machine if the run ended
            there first.
        """
        self._over.set()
        if self.verdict:
            return self.verdict, 1
        if code and self.place.machines > 1:
            here = f'on machine {self.place.index} ({socket.gethostname()})'
            with suppress(RuntimeError):  # the launcher that serves the store is gone
                self.store.set(
                    'end', f'{here}: {line or "an error, which is shown there"}'
                )
                self._until_heard()
        return line, code

    def _serve(self) -> Any:
        from torch.distributed import TCPStore

        address, port = self.place.address, self.place.port
        if port is None:
            port = DEFAULT_PORT if self.place.machines > 1 else 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('', port))
            except OSError as error:
                raise UserError(
                    f'port {port} of this machine cannot be used ({error.strerror}): name '
                    'another with PORT, the same on all machines; one machine alone needs '
                    'none and takes any that is free'
                ) from error
        # torchrun makes a store of the same port, and shares the server of this one.
        return TCPStore(
            address, port, is_master=True, wait_for_workers=False, multi_tenant=True
        )

    def _join(self) -> Any:
        from torch.distributed import TCPStore

        address, port = self.place.address, self.place.port or DEFAULT_PORT
        begin = time.monotonic()
        while True:
            try:
                socket.create_connection((address, port), timeout=5).close()
                return TCPStore(address, port, is_master=False, wait_for_workers=False)
            except (OSError, RuntimeError) as error:
                if time.monotonic() - begin > PATIENCE:
                    raise UserError(
                        f'machine 0 does not answer at {address}:{port} ({error}): start the '
                        'same command there with NODE_RANK=0, and name it in MASTER_ADDR'
                    ) from error
            time.sleep(0.5)

    def _others(self, key: str) -> list[int]:
        """Indices of the machines that have not set a key."""
        every = range(self.place.machines)
        return [i for i in every if not self.store.check([f'{key}/{i}'])]

    def _wait_for_all(self) -> None:
        self.store.set(f'here/{self.place.index}', socket.gethostname())
        begin = time.monotonic()
        while missing := self._others('here'):
            if time.monotonic() - begin > PATIENCE:
                raise UserError(
                    f'machine {", ".join(map(str, missing))} of {self.place.machines} has not '
                    f'come within {PATIENCE // 60} minutes: start the same command there, '
                    'with its index as NODE_RANK'
                )
            time.sleep(0.5)

    def _watch(self) -> None:
        """Gives a sign of life every second, and ends this launcher if the run has ended."""
        beats: dict[int, tuple[bytes, float]] = {}
        count = 0
        while not self._over.wait(1):
            count += 1
            try:
                self.store.set(f'beat/{self.place.index}', str(count))
                said = self.store.get('end').decode() if self._has_ended() else ''
                if not self.place.index and not said:
                    said = self._silent(beats)
            except RuntimeError:
                if self._over.wait(3):
                    return  # the run is over, and machine 0 was the first to leave
                said = 'on machine 0: its launcher has ended'
            if said and not self._over.is_set():
                self.verdict = f'the run ended {said}'
                with suppress(RuntimeError):
                    self.store.set(f'heard/{self.place.index}', '')
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _has_ended(self) -> bool:
        return self.store.check(['end'])

    def _silent(self, beats: dict[int, tuple[bytes, float]]) -> str:
        """What to say of a machine without a sign of life for :data:`SILENCE` seconds.

        Args:
            beats: The last sign of each machine, and when it was new; changed here.
        """
        now = time.monotonic()
        for index in range(1, self.place.machines):
            key = f'beat/{index}'
            sign = self.store.get(key) if self.store.check([key]) else b''
            if index not in beats or beats[index][0] != sign:
                beats[index] = sign, now
            elif now - beats[index][1] > SILENCE:
                name = self.store.get(f'here/{index}').decode()
                said = f'on machine {index} ({name}): its launcher has ended'
                self.store.set('end', said)
                self._until_heard(but=index)
                return said
        return ''

    def _until_heard(self, but: int | None = None) -> None:
        """Waits up to 5 s until the other launchers know how the run ended."""
        if self.place.index:
            return  # the store outlives this launcher
        for _ in range(50):
            if not {*self._others('heard')} - {0, but}:
                return
            time.sleep(0.1)
