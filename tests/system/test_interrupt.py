"""Ctrl-C reaches the launcher and all of its workers: one line, and exit code 130."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from test_two_workers import free_port

pytestmark = pytest.mark.slow

WORKER = """
import argparse, os, sys, time
from pathlib import Path
from wsss_plugins.cli import run_tool

def work(args):
    Path(args.folder, os.environ['RANK']).touch()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        if os.environ['RANK'] == args.broken:
            raise RuntimeError('Connection closed by peer')
        raise

parser = argparse.ArgumentParser()
parser.add_argument('folder')
parser.add_argument('broken')
run_tool(parser, work, check=False)
"""


@pytest.mark.parametrize(
    'number, broken, said',
    [
        (signal.SIGINT, 'none', 'interrupted'),
        (signal.SIGINT, '0', 'interrupted'),
        (signal.SIGTERM, 'none', 'ended by SIGTERM'),
    ],
)
def test_workers_end_with_one_line(tmp_path: Path, number, broken, said) -> None:
    """Also where the end of another worker breaks the connection of this one."""
    script = tmp_path / 'worker.py'
    script.write_text(WORKER)
    launcher = tiny.TOOLS / 'launch.py'
    command = [sys.executable, launcher, f'--master-port={free_port()}']
    command += ['2', script, tmp_path, broken]
    started = subprocess.Popen(
        [str(word) for word in command],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group, as a shell makes for a command
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    wait_for(tmp_path / '0', started)
    wait_for(tmp_path / '1', started)
    os.killpg(started.pid, number)
    _, errors = started.communicate(timeout=60)
    assert errors == f'error: {said}: run the same command again to go on\n'
    assert started.returncode == 128 + number


def wait_for(path: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, 'it did not start'
        time.sleep(0.05)
