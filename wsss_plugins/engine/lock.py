"""Locks a work dir, so that only one run at a time uses it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from wsss_plugins.engine.workers import gather, rank
from wsss_plugins.errors import UserError, unwritable
from wsss_plugins.structures.layout import LOCK_FILE

LONGEST = 1 << 20
"""Bytes of a lock file that are read."""
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of a file system that does not support locks."""
BEAT = 10.0
"""Seconds between two renewals of the lock file by the run that holds it."""
STALE = 90.0
"""Age in seconds of the lock file at which a run on another host counts as ended."""


@contextmanager
def only_run(work_dir: Path, stages: Sequence[str] = ()) -> Iterator[None]:
    """Locks a work dir until the block ends; every worker calls this function.

    A file in the work dir names the host, the process and the stages of the run, and the run
    renews its time every :data:`BEAT` seconds. The lock of a process that has ended is taken
    over: on this host at once, on another one :data:`STALE` seconds after the last renewal.

    Args:
        work_dir: The folder; it is made if it does not exist.
        stages: Names of the stages that the run selects, in order.

    Yields:
        Nothing.

    Raises:
        UserError: Another run uses ``work_dir``, or ``work_dir`` is a file or cannot be
            written to.
    """
    if work_dir.exists() and not work_dir.is_dir():
        raise UserError(f'--work-dir {work_dir} is a file: name a folder')
    path = work_dir / LOCK_FILE
    handle, why = _take(path, stages) if rank() == 0 else (None, None)
    refused = gather(why)[0]
    if refused is not None:
        raise UserError(refused)
    over = threading.Event()
    if handle is not None:
        threading.Thread(target=_renew, args=(handle, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()
        if handle is not None:
            with suppress(OSError):
                path.unlink()
            with suppress(OSError):
                os.close(handle)
            _HELD.discard(handle)


_HELD: set[int] = set()


def _renew(handle: int, over: threading.Event) -> None:
    """Renews the time of the lock file until the run is over."""
    while not over.wait(BEAT):
        with suppress(OSError):  # such as of a disk that is away for a moment
            os.utime(handle)


def _close_in_child() -> None:
    """Closes the lock in a child process; it would otherwise outlive a killed run."""
    for handle in list(_HELD):
        with suppress(OSError):
            os.close(handle)
    _HELD.clear()


os.register_at_fork(after_in_child=_close_in_child)


def run_in(work_dir: Path) -> dict[str, Any]:
    """What the lock of a work dir says of the run that uses it; the lock is left alone.

    Returns:
        ``host``, ``process``, ``since`` and ``stages``, as far as the file has them. Empty
        if there is no lock, if its process has ended on this host, or if a run on another
        host has not renewed it for :data:`STALE` seconds.
    """
    try:
        handle = os.open(work_dir / LOCK_FILE, os.O_RDONLY)
    except OSError:
        return {}
    try:
        owner, age = _owner(handle), time.time() - os.fstat(handle).st_mtime
    finally:
        os.close(handle)
    if _is_elsewhere(owner):
        return owner if age < STALE else {}
    runs = owner.get('process') == os.getpid() or _lives(owner)
    return owner if runs else {}


def _take(path: Path, stages: Sequence[str]) -> tuple[int | None, str | None]:
    """Takes the lock; returns the open file, or a message why it cannot be taken."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            owner = _owner(handle)
            if not _lock(handle, owner) or _lives_elsewhere(handle, owner, path):
                os.close(handle)
                return None, _refusal(path, owner)
            if _is_same(handle, path):
                break
            os.close(handle)  # the earlier owner has just removed the file
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(_self() | dict(stages=[*stages])).encode(), 0)
    except OSError as error:
        line = unwritable(error, path.parent)
        if line is None:
            raise
        return None, line
    _HELD.add(handle)
    return handle, None


def _lock(handle: int, owner: dict[str, Any]) -> bool:
    """Locks the file; without support of locks, checks that its owner has ended."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return not _lives(owner)
    return True


def _lives(owner: dict[str, Any]) -> bool:
    process = owner.get('process')
    if owner.get('host') != socket.gethostname() or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def _is_elsewhere(owner: dict[str, Any]) -> bool:
    """Whether the lock file names a run on another host."""
    return owner.get('host', socket.gethostname()) != socket.gethostname()


def _lives_elsewhere(handle: int, owner: dict[str, Any], path: Path) -> bool:
    """Whether the lock file names a run on another host that renewed it of late.

    Both times are those of the file system, since the clocks of hosts differ.
    """
    if not _is_elsewhere(owner):
        return False
    with tempfile.TemporaryFile(dir=path.parent) as new:
        now = os.fstat(new.fileno()).st_mtime
    return now - os.fstat(handle).st_mtime < STALE


def _is_same(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at its path."""
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _self() -> dict[str, Any]:
    return dict(
        host=socket.gethostname(),
        process=os.getpid(),
        since=datetime.now().isoformat(timespec='seconds'),
    )


def _owner(handle: int) -> dict[str, Any]:
    """What the lock file says of the run; empty if the file is new or damaged."""
    try:
        said = json.loads(os.pread(handle, LONGEST, 0))
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _refusal(path: Path, owner: dict[str, Any]) -> str:
    who = (
        f'process {owner.get("process", "unknown")} on {owner.get("host", "this host")}'
    )
    since = f' since {owner["since"]}' if 'since' in owner else ''
    free = 'if that run is over,'
    if _is_elsewhere(owner):
        free = f'if that run was killed, wait {STALE:.0f} s or'
    return (
        f'work dir {path.parent} is in use by {who}{since}: wait until it ends, choose '
        f'another folder with --work-dir, or, {free} remove {path}'
    )
