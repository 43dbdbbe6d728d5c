"""One tiny data set and one finished tiny pipeline for all system tests."""

from __future__ import annotations

import runpy
import sys
from functools import partial
from pathlib import Path

import pytest
import tiny

from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit

SIZES = dict(train=24, val=12, workers=1)


@pytest.fixture(scope='session')
def data_root(made_once) -> Path:
    """24 training and 12 validation images of 32 x 40 pixels."""
    spec = SyntheticSpec(size=(32, 40))
    return made_once('data', partial(write_devkit, spec=spec, **SIZES)) / 'VOC2012'


@pytest.fixture(scope='session')
def finished(data_root, made_once) -> Path:
    """The work dir of a tiny pipeline that ran without interruption; read only."""

    def make(work_dir: Path) -> None:
        command = tiny.arguments(data_root, work_dir)
        tiny.run_python(tiny.TOOLS / 'run_pipeline.py', *command)

    return made_once('finished', make)


@pytest.fixture
def refused(capfd, monkeypatch):
    """Runs a tool in this process; the one line it says on leaving with code 2."""

    def run(tool: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        monkeypatch.chdir(tiny.ROOT)
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(tiny.TOOLS / tool), run_name='__main__')
        *before, last = capfd.readouterr().err.splitlines()
        assert left.value.code == 2, last
        assert last.startswith('error: '), last
        assert not any('Traceback' in line or 'error: ' in line for line in before)
        return last.removeprefix('error: ')

    return run


@pytest.fixture
def pipeline(refused, data_root, tmp_path):
    """Runs the tiny pipeline, which must be refused."""

    def run(*options: str, data: Path = data_root, work_dir: Path | None = None) -> str:
        work_dir = work_dir or tmp_path / 'work'
        return refused('run_pipeline.py', *tiny.arguments(data, work_dir, *options))

    return run
