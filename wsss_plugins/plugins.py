"""Plug-ins of other packages, which are found by their entry points.

A package names its module in its ``pyproject.toml``, and the import of this module
registers its plug-ins::

    [project.entry-points.'wsss_plugins.plugins']
    my_project = 'my_project.heads'
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points

GROUP = 'wsss_plugins.plugins'


@cache
def load_plugins() -> None:
    """Imports what installed packages name in the group ``wsss_plugins.plugins``, once.

    What cannot be imported is left out, and one line on stderr names it.
    """
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:  # a module of others: anything may come out of it
            sys.stderr.write(f'warning: {_left_out(point, error)}\n')


def _left_out(point: EntryPoint, error: Exception) -> str:
    package = point.dist.name if point.dist else 'a package without a name'
    reason = ' '.join(f'{type(error).__name__}: {error}'.split())
    return (
        f"the plug-ins '{point.name}' of {package} are left out, since {point.value} "
        f'cannot be imported: {reason}'
    )
