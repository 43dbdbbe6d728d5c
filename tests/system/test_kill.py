"""kill -9 in every kind of stage that takes long, run again: the same result."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import tiny

from wsss_plugins.stages import StageRecord
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
