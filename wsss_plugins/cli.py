"""How the command-line tools end when something the user gave is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable

from wsss_plugins.errors import UserError


def run_tool(main: Callable[[], None]) -> None:
    """Runs a tool; a :class:`UserError` becomes one line and exit code 2."""
    try:
        main()
    except UserError as error:
        sys.stderr.write(f'error: {error}\n')
        sys.exit(2)
