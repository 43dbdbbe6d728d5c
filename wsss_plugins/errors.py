"""Errors for wrong input of users, and their messages.

A message is one line that says what was given, what is allowed and what to do.
The command-line tools print it and leave with exit code 2; see
:func:`wsss_plugins.cli.run_tool`.
"""

from __future__ import annotations

import difflib
import errno
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """Anything the user can mend: a path, a name, a key, a value."""


class ConfigError(UserError):
    """A config names something that does not exist or is of the wrong kind.

    Args:
        message: The one line to show.
        token: The word of the config to look for, so that its file and line can be
            named: of a name that nothing has (a type, a stage, a data set, a key) the
            name as it was written, of any other wrong value the key that it was given
            for.
    """

    def __init__(self, message: str, *, token: str | None = None) -> None:
        super().__init__(message)
        self.token = token


class DataError(UserError):
    """A data set, an image, a label file or a mask is missing or broken."""


class CheckpointError(UserError):
    """A checkpoint is missing, unreadable or of another model."""


class PlugInError(UserError):
    """A plug-in returned what the contract of its registry does not allow."""


class NotFiniteError(PlugInError, DataError):
    """A plug-in returned numbers that are NaN or infinite, perhaps for one image only."""


def near_names(name: str, allowed: Iterable[str], most: int = 12) -> str:
    """Lists the allowed names, the nearest to ``name`` first.

    Args:
        name: What was given.
        allowed: What would have been right.
        most: How many names to list at most.

    Returns:
        A clause such as ``did you mean 'CAM'? Allowed: CAM, GradCAM``.
    """
    names = sorted(set(allowed))
    lower = {n.lower(): n for n in names}
    close = [lower[n] for n in difflib.get_close_matches(name.lower(), lower, n=3)]
    shown = close + [n for n in names if n not in close]
    more = f' and {len(names) - most} more' if len(names) > most else ''
    listing = f'Allowed: {", ".join(shown[:most]) or "nothing"}{more}'
    return f"did you mean '{close[0]}'? {listing}" if close else listing


def described(error: BaseException) -> str:
    """An error of another library in one line: its kind, and what it says."""
    return f'{type(error).__name__}: {" ".join(str(error).split())}'.rstrip(': ')


_REMEDIES = {
    errno.ENOSPC: 'no space left to write {path}: free some space, then run the same '
    'command again',
    errno.EDQUOT: 'the quota is used up, so {path} cannot be written: free some space, '
    'then run the same command again',
    errno.EROFS: '{path} cannot be written, its file system is read-only: choose another '
    'folder (--work-dir or --out)',
    errno.EACCES: '{path} cannot be written, permission is denied: choose another folder '
    '(--work-dir or --out), or change the permissions of this one',
    errno.EPERM: '{path} cannot be written, permission is denied: choose another folder '
    '(--work-dir or --out), or change the permissions of this one',
    errno.ENAMETOOLONG: '{path} cannot be written, the name is too long for the file '
    'system: shorten it (an id of an image is the name of its file)',
    errno.ENOTDIR: '{path} cannot be written, a part of its path is a file: choose another '
    'folder (--work-dir or --out)',
}


def unwritable(error: BaseException, path: Path | str) -> str | None:
    """What to say of an error of writing, in one line; None where it is another error.

    torch and safetensors hide the error number of the system in their texts; a write that
    they could not finish is then told by the space that is left.

    Args:
        error: What was raised while ``path`` was written.
        path: The file or folder.
    """
    number = error.errno if isinstance(error, OSError) else None
    text = str(error)
    if number is None and not isinstance(error, OSError):
        hidden = re.search(r'\(os error (\d+)\)', text)
        if hidden:
            number = int(hidden[1])
        elif 'PytorchStreamWriter' in text or 'file write failed' in text:
            number = errno.ENOSPC if _free(path) < LEAST_FREE else None
    return _REMEDIES[number].format(path=path) if number in _REMEDIES else None


NO_MEMORY = re.compile(r"can't allocate memory|out of memory|bad_alloc", re.IGNORECASE)
"""What libraries say when memory ends, where they raise no MemoryError."""


def of_the_machine(error: BaseException) -> str | None:
    """What to say of a file that cannot be used, or of memory that ends, in one line.

    Args:
        error: What reached a command.

    Returns:
        The line; None for errors that have another cause.
    """
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))
    ):
        reason = ' '.join(str(error).split())[:120]
        return (
            f'memory ended{f" ({reason})" if reason else ""}: give a smaller batch_size, '
            'fewer workers, or max_side or tile for large photos'
        )
    if not isinstance(error, OSError):
        return None
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    if full or error.filename is None:
        return unwritable(error, error.filename or 'the output')
    return (
        f'{error.filename} cannot be used ({error.strerror}): correct its path or its '
        'permissions'
    )


def require_writable(folder: Path | str) -> None:
    """Refuses a folder that cannot be written to, before the work whose results go there.

    Nothing stays behind: an unnamed file is made in the folder, or in the nearest folder
    above it that exists.

    Args:
        folder: The folder; it need not exist.

    Raises:
        UserError: The file system is read-only or full, or permission is denied; the
            message names ``folder``.
    """
    folder = Path(folder)
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if place == folder and not place.is_dir():
        return  # what is to be written says what to name instead
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        line = unwritable(error, folder)
        if line is None:
            raise
        raise UserError(line) from error


LEAST_FREE = 1 << 20
"""Bytes; a disk with less is full as far as an unfinished write can tell."""


def _free(path: Path | str) -> int:
    """Bytes that are free where ``path`` is to be."""
    folder = Path(path).resolve()
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free
