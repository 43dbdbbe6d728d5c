"""torchrun and `wsss launch` with the tools, on one machine and on two."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
from machines import LAUNCH, TORCHRUN, Machine, run_on_both

pytestmark = pytest.mark.slow

ALONE = (*TORCHRUN, '--standalone', '--nproc-per-node=2')
AGAIN = ('cam', 'cam_score', 'pseudo', 'prediction')
"""Stages that do not train: what they make is the same with any number of workers."""


def run_here(script: Path, *words: object) -> None:
    """Runs a tool with two workers of torchrun until it has ended well."""
    process = Machine().start(*ALONE, script, *words)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said


def test_two_workers_train_the_same_on_one_machine_and_on_two(
    data_root, tmp_path
) -> None:
    tool, places = tiny.TOOLS / 'train.py', [tmp_path / 'one', tmp_path / 'two']
    run_here(tool, *tiny.train(data_root, places[0]))
    run_on_both(TORCHRUN, tool, *tiny.train(data_root, places[1]))
    one, two = ((each / 'weights.safetensors').read_bytes() for each in places)
    assert one == two


@pytest.mark.parametrize('launcher', [ALONE, TORCHRUN, LAUNCH])
def test_a_pipeline(finished, data_root, tmp_path, launcher) -> None:
    """Two workers, on two machines but for the first case, make what one makes."""
    work_dir = Path(shutil.copytree(finished, tmp_path / 'work'))
    for name in AGAIN:
        shutil.rmtree(work_dir / name)
    command = [tiny.TOOLS / 'run_pipeline.py', *tiny.arguments(data_root, work_dir)]
    if launcher == ALONE:
        run_here(*command)
    else:
        run_on_both(launcher, *command)
    records = tiny.records(work_dir)
    for name in AGAIN:
        assert records[name].environment['workers'] == 2
    tiny.assert_same_results(finished, work_dir, list(AGAIN))
