"""kill -9 in every kind of stage that takes long, run again: the same result."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny

from wsss_plugins.engine import StageRecord
from wsss_plugins.structures import PART_FILES

DEATHS = [
    ('classifier', '*/classifier/resume.pth', 2),  # in its second epoch
    ('cam', '*/cam/seeds/*.npz', 10),  # in the middle of a batch
    ('pseudo', '*/pseudo/labels/*.png', 7),
    ('segmentor', '*/segmentor/resume.pth', 2),
    ('prediction', '*/prediction/labels/*.png', 5),
]


@pytest.mark.slow
def test_killed_in_every_stage_and_run_again(data_root, finished, tmp_path) -> None:
    command = [tiny.TOOLS / 'run_pipeline.py', *tiny.arguments(data_root, tmp_path)]
    for stage, pattern, count in DEATHS:
        driver = [Path(__file__).with_name('die_at.py'), pattern, count]
        tiny.run_python(*driver, *command, code=-signal.SIGKILL)
        record = StageRecord.load(tmp_path / stage)
        assert record is not None and not record.done, stage
        files = [p for p in tmp_path.glob(pattern[2:]) if not p.name.startswith('.')]
        assert len(files) == count - 1
        assert list((tmp_path / stage).rglob(PART_FILES)), 'it died while writing'
    tiny.run_python(*command)
    names = list(tiny.records(finished))
    assert names == [stage['name'] for stage in tiny.stages()]
    tiny.assert_same_results(finished, tmp_path, names)
    assert not list(tmp_path.rglob(PART_FILES)), 'half files were left behind'


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/task').is_dir(), reason='reads /proc')
def test_processes_of_the_refiner_do_not_outlive_it(
    data_root, finished, tmp_path
) -> None:
    work_dir = Path(shutil.copytree(finished, tmp_path / 'work'))
    shutil.rmtree(work_dir / 'pseudo')
    workers = 'pipeline.pseudo.workers=2'
    command = [tiny.TOOLS / 'run_pipeline.py']
    command += tiny.arguments(data_root, work_dir, workers)
    with (tmp_path / 'log').open('w') as log:
        tool = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=tiny.ROOT, stdout=log, stderr=log,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
        )  # fmt: skip
    children = Path(f'/proc/{tool.pid}/task/{tool.pid}/children')
    born: list[str] = []
    try:
        wait_for(lambda: list(work_dir.glob('pseudo/labels/*.png')))
        born = children.read_text().split()
    finally:
        tool.kill()
        tool.wait()
    assert len(born) >= 2
    wait_for(lambda: not any(is_python(child) for child in born))


def is_python(pid: str) -> bool:
    """Whether the process is there and no zombie that waits for the system to reap it."""
    try:
        return '\nState:\tZ' not in Path(f'/proc/{pid}/status').read_text()
    except OSError:
        return False


def wait_for(condition) -> None:
    """Waits up to five minutes, since other tests may run at the same time."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError('it did not happen within five minutes')
