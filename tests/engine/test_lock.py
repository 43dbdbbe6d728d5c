"""A work dir has one run at a time; the lock of a run that died is taken over."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wsss_plugins.engine import lock
from wsss_plugins.engine.lock import only_run, run_in
from wsss_plugins.errors import UserError

HOLD = """
import os, sys, time
from pathlib import Path
from wsss_plugins.engine.lock import only_run
with only_run(Path(sys.argv[1])):
    if os.fork() == 0:  # as a data loader's worker: it outlives its parent
        time.sleep(20)
        os._exit(0)
    print('in', flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A run of another process in the folder."""
    command = [sys.executable, '-c', HOLD, str(tmp_path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == 'in\n'
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_second_run_is_refused_until_the_first_is_over(other, tmp_path) -> None:
    with pytest.raises(UserError) as caught, only_run(tmp_path):
        pass
    where = f'process {other.pid} on {socket.gethostname()} since '
    assert str(caught.value).startswith(f'work dir {tmp_path} is in use by {where}')
    assert '--work-dir' in str(caught.value) and '\n' not in str(caught.value)
    other.kill()
    other.wait()
    with only_run(tmp_path):
        said = json.loads((tmp_path / '.lock').read_text())
        assert said['process'] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_a_dead_process_left_is_taken_over(tmp_path) -> None:
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    owner = dict(host=socket.gethostname(), process=ended.pid)
    (tmp_path / '.lock').write_text(json.dumps(owner))
    with only_run(tmp_path):
        pass
    (tmp_path / '.lock').write_text('{damaged')
    with only_run(tmp_path):
        pass


def test_a_lock_of_another_host_is_respected(tmp_path) -> None:
    file = tmp_path / '.lock'
    file.write_text(json.dumps(dict(host='elsewhere', process=1)))
    said = f'process 1 on elsewhere.*remove {file}'
    with pytest.raises(UserError, match=said), only_run(tmp_path):
        pass
    file.unlink()
    with only_run(tmp_path):
        assert file.is_file()


def test_a_lock_that_another_host_renews_no_more_is_taken_over(
    tmp_path, monkeypatch
) -> None:
    file = tmp_path / '.lock'
    file.write_text(json.dumps(dict(host='elsewhere', process=1)))
    ago = time.time() - lock.STALE
    os.utime(file, (ago + 10, ago + 10))
    with pytest.raises(UserError, match='wait 90 s or remove'), only_run(tmp_path):
        pass
    os.utime(file, (ago - 1, ago - 1))
    monkeypatch.setattr(lock, 'BEAT', 0.01)
    with only_run(tmp_path):
        assert json.loads(file.read_text())['process'] == os.getpid()
        os.utime(file, (ago, ago))
        end = time.monotonic() + 5
        while file.stat().st_mtime < ago + 1:
            assert time.monotonic() < end, 'it is not renewed'
            time.sleep(0.01)


def test_the_lock_goes_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_run(tmp_path):
        raise ZeroDivisionError
    begin = time.monotonic()
    with only_run(tmp_path), pytest.raises(UserError), only_run(tmp_path):
        pass
    assert time.monotonic() - begin < 5


def test_a_run_says_which_stages_it_selects(other, tmp_path) -> None:
    assert run_in(tmp_path)['process'] == other.pid
    assert run_in(tmp_path)['stages'] == []
    other.kill()
    other.wait()
    assert run_in(tmp_path) == {}, 'its process has ended'
    names = [f'a_stage_with_a_long_name_{i}' for i in range(500)]
    with only_run(tmp_path, names):
        assert run_in(tmp_path)['stages'] == names
        said = f'process {os.getpid()} on'
        with pytest.raises(UserError, match=said), only_run(tmp_path):
            pass
    assert run_in(tmp_path) == {} == run_in(tmp_path / 'none')
