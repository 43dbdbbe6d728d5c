"""How a command ends: an error or a signal becomes one line and an exit code.

A worker that torchrun started lets its launcher speak where the launcher knows more, and
ends when the launcher has ended.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from datetime import timedelta
from types import FrameType
from typing import Any, NoReturn

LAUNCHED = 'TORCHELASTIC_RUN_ID'
"""Environment variable that torchrun sets for its workers."""
LAUNCHER = 'WSSS_PLUGINS_LAUNCHER'
"""Environment variable with the process of ``tools/launch.py``, which speaks for its workers."""
GO_ON = 'run the same command again to go on'
LAST_WAY = 10
"""Seconds after a signal in which a command may end in its own way."""
HEAR_LAUNCHER = 25
"""Seconds for which a worker without a connection waits to be ended by its launcher."""
HEAR_OTHERS = 3
"""The same without ``tools/launch.py``: torchrun hears nothing of other machines."""

_ALIVE = 'wsss_plugins/alive'
_LOST = re.compile(r'gloo|nccl|Connection (closed|reset|refused)|[Bb]roken pipe')
_READER = re.compile(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (.*)')


class Signals:
    """Turns the first Ctrl-C or SIGTERM into a ``KeyboardInterrupt``, and notes it.

    A second signal ends the process at once, and so does :data:`LAST_WAY` after the first
    one, since every file is written so that a run may end anywhere. A worker of torchrun is
    sent Ctrl-C twice, and ignores the second; SIGTERM ends it at once, since it may wait for
    other workers where Python handles no signal.

    Attributes:
        number: The signal that came; None before.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}
        numbers = [signal.SIGINT, signal.SIGALRM]
        if LAUNCHED not in os.environ:
            numbers.append(signal.SIGTERM)
        for number in numbers:
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, signal.default_int_handler):
                self._before[number] = handler
                signal.signal(number, self._come)
        _HEEDING.append(self)

    def undo(self) -> None:
        """Restores the handlers that were there before, unless the process is ending."""
        if self.number is None:
            self.restore()

    def restore(self) -> None:
        """Restores the handlers that were there before."""
        _HEEDING.remove(self)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def leave(self) -> NoReturn:
        """Ends the process with one line on the signal; exit code 128 and its number.

        Nothing is waited for, such as the work that a pool of processes still has.
        """
        number = signal.SIGINT if self.number is None else self.number
        if self.number is None:
            leave(interrupted_by(number), 128 + number)
        _end(number)

    def _come(self, number: int, _: FrameType | None) -> None:
        """The handler of all signals."""
        if self.number is None and number != signal.SIGALRM:
            self.number = number
            signal.alarm(LAST_WAY)
            raise KeyboardInterrupt
        if LAUNCHED not in os.environ or number == signal.SIGALRM:
            _end(self.number or number)


_HEEDING: list[Signals] = []


def _restore_in_child() -> None:
    """Makes a process that was forked end as any other; it says nothing."""
    for signals in list(_HEEDING):
        signals.restore()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


# Python forgets a signal that comes to a process while it is forked: SIGTERM has to wait.
os.register_at_fork(
    before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}),
    after_in_parent=lambda: signal.pthread_sigmask(
        signal.SIG_UNBLOCK, {signal.SIGTERM}
    ),
    after_in_child=_restore_in_child,
)


def _end(number: int) -> NoReturn:
    """Ends the process at once, with a line unless the launcher or the first worker says it."""
    if LAUNCHED not in os.environ or (LAUNCHER not in os.environ and _rank() == 0):
        say_error(interrupted_by(number))
    with suppress(OSError, ValueError):  # of a reader that has left
        sys.stdout.flush()
    os._exit(128 + number)


def interrupted_by(number: int) -> str:
    """What to say of a signal that ended a command."""
    name = signal.Signals(number).name
    how = 'interrupted' if number == signal.SIGINT else f'ended by {name}'
    return f'{how}: {GO_ON}'


def say_error(message: str) -> None:
    """Writes one line to the error output, without characters that a terminal would obey."""
    sys.stderr.write(f'error: {in_one_line(message)}\n')
    sys.stderr.flush()


def in_one_line(message: str) -> str:
    """A text in one line, with signs in place of characters that a terminal would obey."""
    line = ' '.join(message.split())
    return ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def leave(message: str, code: int = 2) -> NoReturn:
    """Ends the process with one line.

    Args:
        message: What was given, what is allowed, what to do.
        code: The exit code; 2 for what the user can mend.
    """
    if _rank() > 0:
        # When the first worker errs too, it ends this one before it speaks.
        time.sleep(3)
    say_error(message)
    if 'RANK' in os.environ:
        os._exit(code)  # other workers may wait in a collective: do not join them
    sys.exit(code)


def leave_failed(error: Exception) -> NoReturn:
    """Ends a worker of several with the traceback of an error in the program."""
    traceback.print_exception(error)
    sys.stderr.flush()
    os._exit(1)  # as in leave()


def lost_connection(error: Exception) -> bool:
    """Whether a worker failed because another one has ended."""
    if 'RANK' not in os.environ:
        return False
    distributed = sys.modules.get('torch.distributed')
    kinds = tuple(
        getattr(distributed, f'Dist{kind}Error')
        for kind in ('Backend', 'Network', 'Store')
        if hasattr(distributed, f'Dist{kind}Error')
    )
    return isinstance(error, (*kinds, ConnectionError)) or (
        isinstance(error, RuntimeError) and bool(_LOST.search(str(error)))
    )


def leave_lost() -> NoReturn:
    """Ends a worker whose connection to another is lost, unless its launcher ends it first.

    A worker that loses a connection says in the store in which the workers met that it is
    alive. The line names the workers that have not said so within the time of the launcher.
    """
    store = _say_alive()
    time.sleep(HEAR_LAUNCHER if LAUNCHER in os.environ else HEAR_OTHERS)
    silent: list[str] = []
    if store is not None:
        with suppress(OSError, RuntimeError):
            every = range(int(os.environ['WORLD_SIZE']))
            silent = [str(i) for i in every if not store.check([f'{_ALIVE}/{i}'])]
    who = f'worker {" or ".join(silent)}' if silent else 'another worker'
    leave(
        f'worker {_rank()} has lost its connection to {who}, which has ended: see what that '
        f'one says, then {GO_ON}',
        1,
    )


def _say_alive() -> Any:
    """Says that this worker is alive; the store, or None where it has ended."""
    from torch.distributed import TCPStore

    with suppress(KeyError, OSError, RuntimeError):
        store = TCPStore(
            os.environ['MASTER_ADDR'],
            int(os.environ['MASTER_PORT']),
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=HEAR_OTHERS),
        )
        store.set(f'{_ALIVE}/{_rank()}', '')
        return store
    return None


def said_of_reader(error: Exception) -> str | None:
    """The line for an error of a process that reads photos for a data loader.

    Returns:
        The message of a user's error that the process wrapped in a traceback, or how the
        process ended; None for other errors.
    """
    text = str(error).strip()
    last = text.rsplit('\n', 1)[-1]
    name, _, message = last.partition(': ')
    if name.startswith('wsss_plugins.errors.'):
        return message
    ended = _READER.search(text)
    if ended is None or not isinstance(error, RuntimeError):
        return None
    if 'shared memory' in text:
        return (
            f'a process that reads photos ({ended[1]}) has no shared memory left: give the '
            f'machine more, or set num_workers=0 in the data loaders, then {GO_ON}'
        )
    return (
        f'a process that reads photos ({ended[1]}) was killed, perhaps for lack of memory: '
        f'lower num_workers of the data loaders, then {GO_ON}'
    )


def follow_launcher() -> None:
    """Makes a worker of torchrun end within a second after its launcher was killed.

    Otherwise the workers would go on without it, and the same command would be refused.
    """
    if LAUNCHED in os.environ:
        launcher = int(os.environ.get(LAUNCHER, os.getppid()))
        threading.Thread(target=_follow, args=(launcher,), daemon=True).start()


def _follow(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(0.5)
    if os.environ.get('LOCAL_RANK') == '0':
        say_error(f'the launcher (process {launcher}) was killed: {GO_ON}')
    os._exit(128 + signal.SIGKILL)


def _rank() -> int:
    """Index of this worker in the environment that torchrun sets."""
    return int(os.environ.get('RANK', 0))
