"""The watch on attention in a real training: what it writes, and after a resumption."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import tiny

pytestmark = pytest.mark.slow


def test_one_warning_in_two_sittings(data_root, tmp_path) -> None:
    """From scratch attention is even; the resumed half knows that it was said."""
    options = ['custom_hooks.0.interval=1', 'custom_hooks.0.patience=0']
    arguments = tiny.train(data_root, tmp_path, *options)
    driver = [Path(__file__).with_name('die_at.py'), '*/resume.pth', 2]
    tool = tiny.TOOLS / 'train.py'
    killed = tiny.run_python(*driver, tool, *arguments, code=-signal.SIGKILL)
    resumed = tiny.run_python(tool, *arguments)
    assert killed.stdout.count('attention is still almost even at iteration 1: ') == 1
    assert '\nmultilabel/mAP ' in resumed.stdout
    lines = [
        json.loads(line)
        for path in tmp_path.glob('*/vis_data/scalars.json')
        for line in path.read_text().splitlines()
    ]
    seen = [line for line in lines if 'attention_entropy/block_0' in line]
    names = {
        f'attention_entropy/{kind}block_{k}' for kind in ('', 'class_') for k in (0, 1)
    }
    assert all(names == set(line) - {'step'} for line in seen)
    assert all(0.9 < line[name] <= 1 + 1e-6 for line in seen for name in names)
    steps = {line['step'] for line in seen}
    assert steps == set(range(1, max(steps) + 1)) and len(steps) >= 6
