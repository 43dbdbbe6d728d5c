"""Processes in which scripts run as a user starts them, without importing torch anew.

Importing torch, mmseg and timm takes a process five seconds of CPU time. Here one server
imports them once and forks itself for every script. The process of a script imports the
package anew, has its own search path, working directory, output and exit code, and may be
killed, as one that a shell started.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from multiprocessing import get_context
from pathlib import Path

SERVER = get_context('forkserver')
# Not the package itself: a script that does not import what it needs must fail.
INSTALLED = """
rich.console torch mmengine.runner mmseg.datasets mmseg.models timm pycocotools.coco
scipy.sparse scipy.io matplotlib.pyplot
"""
SERVER.set_forkserver_preload(INSTALLED.split())


class Script:
    """A Python script that runs in a process of its own.

    Args:
        command: The script and its arguments; 'wsss' stands for that command.
        cwd: The working directory.
        env: Variables of the environment, besides those of this process when the first
            script began.
        before: Called in the new process before the script; a function of a module.

    Attributes:
        pid: The id of the process. It leads a session, so that ``os.killpg`` reaches the
            processes that the script starts.
    """

    def __init__(
        self,
        command: Sequence[object],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        before: Callable[[], object] | None = None,
    ) -> None:
        self.words = [str(word) for word in command]
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name) / name for name in ('stdout', 'stderr')]
        for file in self._files:
            file.touch()
        files = map(str, self._files)
        self._process = SERVER.Process(
            target=_run,
            args=(self.words, str(cwd), search_path(), dict(env or {}), before, *files),
        )
        self._process.start()
        self.pid = int(self._process.pid or 0)

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while the script runs."""
        return self._process.exitcode

    def wait(self, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Waits until the script has ended.

        Args:
            timeout: Seconds after which the process is killed.

        Returns:
            The exit code, negative for a signal, and all that the script wrote.
        """
        self._process.join(timeout)
        if self.code is None:
            self._process.kill()
            self._process.join()
        said = [file.read_text('utf-8') for file in self._files]
        self._folder.cleanup()
        return subprocess.CompletedProcess(self.words, int(self.code or 0), *said)


def run_script(
    command: Sequence[object], cwd: Path, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs a :class:`Script` until it has ended; see :meth:`Script.wait`."""
    return Script(command, cwd).wait(timeout)


@cache
def search_path() -> list[str]:
    """Where a script finds modules, but for its own folder: without those of the tests."""
    code = 'import json, sys; print(json.dumps(sys.path[1:]))'
    return json.loads(subprocess.check_output([sys.executable, '-c', code], text=True))


def _run(
    words: list[str],
    cwd: str,
    path: list[str],
    env: dict[str, str],
    before: Callable[[], object] | None,
    *files: str,
) -> None:
    """What ``python SCRIPT ...`` does, with both outputs into files."""
    os.setsid()
    os.environ.update(env)
    for number, (stream, name) in enumerate(
        zip(('stdout', 'stderr'), files, strict=True), 1
    ):
        file = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
        setattr(sys, stream, os.fdopen(number, 'w', encoding='utf-8', closefd=False))
    gc.freeze()  # as conftest.py does, for the same reason
    os.chdir(cwd)
    sys.argv = words
    sys.path[:] = [str(Path(words[0]).resolve().parent), *path]
    if before is not None:
        before()
    if words[0] == 'wsss':
        runpy.run_module('wsss_plugins.command', run_name='__main__')
    else:
        runpy.run_path(words[0], run_name='__main__')
