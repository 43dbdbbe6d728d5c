"""Pages for users of other projects: what they name exists, and what they say runs."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_how_to import DRIVER, ROOT, blocks, commands, make_checkout
from test_reference import KINDS, arguments

from wsss_plugins.engine import StageRecord
from wsss_plugins.explain import method_names
from wsss_plugins.metrics import CONVENTIONS
from wsss_plugins.structures import load_json

PAGES = sorted((ROOT / 'docs/coming-from').glob('*.md'))
CODE = re.compile(r'`([^`]+)`')
CALL = re.compile(r'(\w+)\((.*)\)')
OURS = (
    'explain', 'seeds', 'refiners', 'stages', 'report', 'losses', 'segmentors', 'metrics',
    'classifiers', 'backbones', 'datasets', 'affinity',
)  # fmt: skip
BORROWED = {'AmpOptimWrapper', 'EpochBasedTrainLoop'}
"""Classes of mmengine that the pages name."""


def words(page: Path) -> list[str]:
    """What the pages say in code of this package: the second column of every table."""
    found = []
    for line in page.read_text('utf-8').splitlines():
        cells = re.split(r'(?<!\\) \| ', line.strip('| '))
        if line.startswith('|') and len(cells) > 1 and not line.startswith('|---'):
            found += CODE.findall(cells[1])
    return found


def public(name: str) -> object | None:
    """What a plug-in or an exported name stands for."""
    if name in KINDS:
        return KINDS[name]
    for room in OURS:
        module = import_module(f'wsss_plugins.{room}')
        if hasattr(module, name):
            return getattr(module, name)
    return None


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_named_parts_exist(page: Path) -> None:
    checked = 0
    tools = ' '.join(
        path.read_text('utf-8')
        for folder in ('tools', 'wsss_plugins/command', 'wsss_plugins')
        for path in (ROOT / folder).glob('*.py')
    )
    for word in words(page):
        for path in re.findall(r'(?:configs|tools)/[\w/.]+', word):
            assert (ROOT / path).exists(), word
        for option in re.findall(r'(?<![\w-])--[a-z][\w-]+', word):
            assert f"'{option}'" in tools, word
        call = CALL.fullmatch(word)
        name = call[1] if call else word
        if call or re.fullmatch(r'[A-Z]\w*[a-z]\w*', word):
            if name in BORROWED:
                continue
            found = public(name)
            assert found is not None, f'{page.name}: there is no {name}'
            checked += 1
            takes = (
                set(arguments(found))
                if inspect.isclass(found)
                else set(inspect.signature(found).parameters)
            )
            given = re.findall(r'(\w+)=', call[2]) if call else []
            assert set(given) <= takes, word
        for convention in re.findall(r"convention='(\w+)'", word):
            assert convention in CONVENTIONS
    assert checked > 3


def test_methods_of_grad_cam_exist() -> None:
    text = (ROOT / 'docs/coming-from/grad_cam.md').read_text('utf-8')
    table = text.split('| method there | here |')[1]
    names = re.findall(r'\| `(\w+)`', table.split('Which models')[0])
    ours = {name for name in names if name.islower()}
    assert ours == {'grad_cam', 'attention_grad_cam', 'cam'}
    assert ours <= set(method_names())


def test_the_call_of_grad_cam(tmp_path: Path, monkeypatch) -> None:
    """With random weights, since tests have no network."""
    (code,) = blocks(ROOT / 'docs/coming-from/grad_cam.md', 'python')
    assert code.count('pretrained=True') == 1
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    Image.fromarray(noise).save('photo.jpg')
    seen: dict = {}
    exec(code.replace('pretrained=True', 'pretrained=False'), seen)
    assert seen['heat'].shape == (60, 90) and (seen['heat'] >= 0).all()
    assert seen['found'].classes == (281,) and Path('explained.png').is_file()


@pytest.mark.slow
def test_commands_run(tmp_path: Path) -> None:
    make_checkout(tmp_path)
    lines = [line for page in PAGES for line in commands(page) if 'explain' not in line]
    assert len(lines) > 5
    done = subprocess.run(
        [sys.executable, '-c', DRIVER, json.dumps(lines)],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': '.', 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f'{done.stdout}\n{done.stderr}'
    work = tmp_path / 'work_dirs'
    assert (work / 'deeplabv2/synthetic/weights.safetensors').is_file()
    metrics = load_json(work / 'mctformer/synthetic/metrics.json')['metrics']
    assert any(key.endswith('mAP') for key in metrics)
    assert StageRecord.load(work / 'psa/synthetic_pipeline/classifier') is None
