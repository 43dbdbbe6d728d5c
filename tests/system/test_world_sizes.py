"""More workers than photos, unequal shares, and a run that others go on with."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import tiny
from processes import Script
from test_two_workers import free_port

from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit

pytestmark = pytest.mark.slow
LAST = 'pseudo_score'


def start(count: int, *words: object) -> list[Script]:
    """Starts ``tools/run_pipeline.py`` with several workers, as torchrun does."""
    port = free_port()
    same = dict(WORLD_SIZE=str(count), MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    command = [tiny.TOOLS / 'run_pipeline.py', *words]
    ranks = [dict(RANK=str(i), LOCAL_RANK=str(i)) for i in range(count)]
    return [Script(command, tiny.ROOT, same | each) for each in ranks]


def finish(workers: list[Script]) -> None:
    for done in [worker.wait() for worker in workers]:
        assert done.returncode == 0, done.stdout + done.stderr


def test_four_workers_with_three_photos_and_then_two(tmp_path) -> None:
    spec = SyntheticSpec(size=(32, 40))
    write_devkit(tmp_path / 'data', spec, train=3, val=2, workers=1)
    root = tmp_path / 'data/VOC2012'

    def command(name: str) -> list[str]:
        more = ('pipeline.cam.batch_size=1', '--stop', LAST)
        return tiny.arguments(root, tmp_path / name, *more)

    tiny.run_python(tiny.TOOLS / 'run_pipeline.py', *command('one'))
    names = [stage['name'] for stage in tiny.stages()]
    names = names[: names.index(LAST) + 1]
    shutil.copytree(tmp_path / 'one/classifier', tmp_path / 'others/classifier')
    shutil.copy(tmp_path / 'one/experiment.json', tmp_path / 'others')
    four = start(4, *command('others'))
    end = time.monotonic() + 120
    while not list(tmp_path.glob('others/cam/seeds/*.npz')):
        assert time.monotonic() < end and four[0].code is None, 'there are no seeds'
        time.sleep(0.01)
    for worker in four:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
    assert {worker.wait().returncode for worker in four} == {-signal.SIGKILL}
    finish(start(2, *command('others')))
    tiny.assert_same_results(tmp_path / 'one', tmp_path / 'others', names)
    card = tiny.records(tmp_path / 'others')['cam'].supervision
    assert card is not None and card.workers == (1, 2, 4)
    options = [*command('alone')[:-1], 'classifier']
    finish(start(4, *options))  # a training on fewer photos than workers
    assert tiny.records(tmp_path / 'alone')['classifier'].done
    assert Path(tmp_path / 'alone/classifier/weights.safetensors').is_file()
