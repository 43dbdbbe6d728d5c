"""``benchmarks/gpu.sh`` in its tiny form on a CPU, and what it says without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

from wsss_plugins.structures import load_json

pytestmark = pytest.mark.slow

SCRIPT = tiny.ROOT / 'benchmarks/gpu.sh'
NOTES = """#!{python}
import json, sys
with open({file!r}, 'a') as file:
    print(json.dumps(sys.argv[1:]), file=file)
"""


def run(out: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ['bash', SCRIPT, out], text=True, capture_output=True, env=os.environ | env
    )


@pytest.fixture(scope='module')
def commands(tmp_path_factory) -> tuple[Path, list[list[str]]]:
    """The folder of results, and what the script runs in its tiny form."""
    out = tmp_path_factory.mktemp('gpu')
    notes, python = out / 'notes', out / 'python'
    python.write_text(NOTES.format(python=sys.executable, file=str(notes)))
    python.chmod(0o755)
    done = run(out, DEVICE='cpu', PYTHON=str(python))
    assert done.returncode == 0, done.stderr
    assert f'tables in {out}' in done.stdout
    return out, [json.loads(line) for line in notes.read_text().splitlines()]


def test_everything_runs(commands) -> None:
    """In processes that need not import torch anew."""
    out, lines = commands
    for script, *arguments in lines:
        tiny.run_python(tiny.ROOT / script, *arguments)
    for name in ('attribution', 'acr', 'exvit', 'dense_crf', 'random_walk'):
        assert [name] == [n for n in (name,) if (out / f'{name}.json').is_file()]
    for name in ('attribution', 'acr', 'random_walk'):
        report = load_json(out / f'{name}.json')
        rows = report.get('rows') or report['maps']
        assert rows and all(float(row['gap']) < 1e-4 for row in rows), name
    records = tiny.records(out / 'pipeline_32')
    assert 'segmentor_score' in records or len(records) > 10
    assert all(record.done for record in records.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_it_is_one_line(tmp_path) -> None:
    done = run(tmp_path / 'out', PYTHON=sys.executable)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith(
        'error: no GPU is found here; DEVICE=cpu benchmarks/gpu'
    )
    assert done.stderr.count('\n') == 1 and not (tmp_path / 'out').exists()


def test_a_benchmark_that_fails_stops_no_other(tmp_path) -> None:
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\ncase "$1" in *acr.py|*crf.py) exit 1;; esac\n')
    python.chmod(0o755)
    done = run(tmp_path / 'out', DEVICE='cpu', PYTHON=str(python))
    assert done.returncode == 1 and 'pipeline: ' in done.stdout
    assert done.stderr == 'error: failed: acr dense_crf; their output is above\n'
