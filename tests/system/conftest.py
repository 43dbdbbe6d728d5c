"""One tiny data set and one finished tiny pipeline for all system tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit


@pytest.fixture(scope='session')
def data_root(tmp_path_factory) -> Path:
    """24 training and 12 validation images of 32 x 40 pixels."""
    out = tmp_path_factory.mktemp('data')
    write_devkit(out, SyntheticSpec(size=(32, 40)), train=24, val=12, workers=1)
    return out / 'VOC2012'


@pytest.fixture(scope='session')
def finished(data_root, tmp_path_factory) -> Path:
    """The work dir of a tiny pipeline that ran without interruption; read only."""
    work_dir = tmp_path_factory.mktemp('work') / 'finished'
    command = tiny.arguments(data_root, work_dir)
    tiny.run_python(tiny.TOOLS / 'run_pipeline.py', *command)
    return work_dir
