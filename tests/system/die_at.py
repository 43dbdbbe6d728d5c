"""Runs a tool and kills it (SIGKILL) when it is about to finish writing a file.

    python die_at.py PATTERN COUNT TOOL [arguments of the tool]

The ``COUNT``-th file whose path matches ``PATTERN`` is written under its temporary name
and never renamed: the worst moment there is.
"""

from __future__ import annotations

import fnmatch
import os
import runpy
import signal
import sys
from pathlib import Path


def main() -> None:
    pattern, count, tool, *arguments = sys.argv[1:]
    left = int(count)
    replace = Path.replace

    def replace_or_die(self: Path, target: Path) -> Path:
        nonlocal left
        left -= fnmatch.fnmatch(str(target), pattern)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = replace_or_die  # type: ignore[method-assign]
    sys.argv = [tool, *arguments]
    runpy.run_path(tool, run_name='__main__')


if __name__ == '__main__':
    main()
