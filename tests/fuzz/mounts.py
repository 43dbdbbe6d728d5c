"""File systems of a test's own: full ones and read-only ones, seen by one process alone."""

from __future__ import annotations

import ctypes
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

NEW_MOUNTS = 0x00020000
READ_ONLY, REMOUNT, BIND, DEEP, PRIVATE = 1, 32, 4096, 16384, 1 << 18
NO_MOUNTS = 77
"""Exit code of a process that may not mount anything."""


def mount(
    what: str, where: Path, kind: str | None, flags: int, options: str = ''
) -> None:
    """Calls mount(2).

    Raises:
        PermissionError: Mounting is not allowed here.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    words = [None if w is None else w.encode() for w in (what, str(where), kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None):
        raise PermissionError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def small_disk(where: Path, size: str) -> None:
    """A disk of its own at a folder, or another size for the one that is there."""
    flags = REMOUNT if os.path.ismount(where) else 0
    mount('tmpfs', where, 'tmpfs', flags, f'size={size}')


def read_only(where: Path) -> None:
    """Makes a folder read-only, whoever writes."""
    mount(str(where), where, None, BIND)
    mount(str(where), where, None, BIND | REMOUNT | READ_ONLY)


def with_mounts_of_its_own(work: Callable[[], None]) -> None:
    """Does ``work`` in a child process, whose mounts nobody else sees and which end with it.

    What ``work`` raises fails the test. Where mounting is not allowed the test is skipped.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            # A fork breaks torch's pool of threads. The next call makes another one, and
            # fails where two threads call at once or where memory is limited by then.
            torch.set_num_threads(1)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(NEW_MOUNTS):
                raise PermissionError
            mount('none', Path('/'), None, DEEP | PRIVATE)
            work()
            code = 0
        except PermissionError:
            code = NO_MOUNTS
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == NO_MOUNTS:
        pytest.skip('nothing can be mounted here')
    assert code == 0, 'see the traceback of the child process'
