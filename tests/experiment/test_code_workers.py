"""Two workers agree on what an edit of a plug-in reruns, and refuse to differ in code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

JOB = """
import importlib, json, sys
from pathlib import Path
from mmengine.config import Config
from wsss_plugins.engine import Stage
from wsss_plugins.engine.workers import barrier, rank, worker_group
from wsss_plugins.errors import UserError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.structures import load_json, save_json

my_heads = importlib.import_module('my_heads')  # no import of the stages' module

RUNS = []

class Maps(Stage):
    def __init__(self, name, head=None, reads=()):
        super().__init__(name)
        self.head, self.inputs = head, tuple(reads)

    def run(self, out, inputs):
        RUNS.append(self.name)
        total = sum(load_json(folder / 'n.json') for folder in inputs.values())
        total += self.head['type']().maps() if self.head else 0
        if rank() == 0:
            save_json(out / 'n.json', total)
        barrier()
        return dict(total=total)

stages = [
    dict(type=Maps, name='a', head=dict(type=my_heads.First)),
    dict(type=Maps, name='b'),
    dict(type=Maps, name='c', reads=('a',)),
]
Path('mine.py').touch()
with worker_group():
    try:
        config = Config(dict(pipeline=stages), filename='mine.py')
        options = json.loads(sys.argv[1])
        records = Pipeline(config, **options).run('work')
        said = [RUNS, records['c'].metrics['total']]
    except UserError as error:
        said = str(error)
print(json.dumps(said))
"""


def run(folder: Path, paths: tuple[str, str] = ('code', 'code'), **options: object):
    """What each of two workers says."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = str(probe.getsockname()[1])
    (folder / 'job.py').write_text(JOB)
    jobs = [
        subprocess.Popen(
            [sys.executable, 'job.py', json.dumps(options)],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                'PYTHONPATH': f'{ROOT}{os.pathsep}{folder / paths[k]}',
                'PYTHONDONTWRITEBYTECODE': '1',
                'RANK': str(k),
                'LOCAL_RANK': str(k),
                'WORLD_SIZE': '2',
                'MASTER_ADDR': '127.0.0.1',
                'MASTER_PORT': port,
                'OMP_NUM_THREADS': '1',
            },
        )
        for k in range(2)
    ]
    return [
        json.loads(job.communicate(timeout=500)[0].splitlines()[-1]) for job in jobs
    ]


def write(folder: Path, name: str, number: int) -> None:
    (folder / name).mkdir(exist_ok=True)
    text = f'class First:\n    def maps(self):\n        return {number}\n'
    (folder / name / 'my_heads.py').write_text(text)


def test_two_workers(tmp_path) -> None:
    write(tmp_path, 'code', 1)
    assert run(tmp_path) == [[['a', 'b', 'c'], 1]] * 2
    write(tmp_path, 'code', 2)
    assert run(tmp_path) == [[['a', 'c'], 2]] * 2
    assert run(tmp_path, redo=['b', 'a']) == [[['a', 'b', 'c'], 2]] * 2
    write(tmp_path, 'code', 3)
    assert run(tmp_path, accept_code=True) == [[[], 2]] * 2
    write(tmp_path, 'other', 4)
    message = (
        "stage 'a': the workers have different code of my_heads: start all of them from "
        'the same files'
    )
    assert run(tmp_path, ('code', 'other')) == [message] * 2
