"""The small form of benchmarks/kill_campaign.py: a few kills, nothing lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import wsss_plugins.report
import wsss_plugins.stages  # noqa: F401  (registers)
from wsss_plugins.config import load_config
from wsss_plugins.registry import STAGES

ROOT = Path(__file__).parents[2]


def test_the_pipeline_has_every_kind_of_stage() -> None:
    pipeline = load_config(ROOT / 'benchmarks/kill_pipeline.py').pipeline
    kinds = {
        *STAGES.module_dict.values()
    }  # those of other tests are not of the package
    ours = {kind for kind in kinds if kind.__module__.startswith('wsss_plugins.')}
    assert {stage['type'] for stage in pipeline} == ours


@pytest.mark.slow
def test_nothing_is_lost() -> None:
    script = ROOT / 'benchmarks/kill_campaign.py'
    command = [sys.executable, script, '--kills', '2', '--workers', '1']
    command += ['--asked', '0']
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert '2 kills in ' in done.stdout
    assert 'faults: 0; lost: 0\n' in done.stdout
