"""What users read when something they gave is wrong.

A message is one line that says what was given, what is allowed and what to do.
The command-line tools print it and leave with exit code 2; see
:func:`wsss_plugins.cli.run_tool`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
