"""The code and the commands of the manual, run as they stand there."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss_plugins.cli import parse_options
from wsss_plugins.config import check_config, load_config
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit
from wsss_plugins.errors import DataError
from wsss_plugins.registry import DATASETS, build_as
from wsss_plugins.stages import StageRecord
from wsss_plugins.structures import load_label_map

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
FENCE = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code of one language."""
    found = FENCE.findall(page.read_text('utf-8'))
    return [text for name, text in found if name == language]


def commands(page: Path) -> list[str]:
    """The lines of the shell blocks, comments left out."""
    lines = [line for text in blocks(page, 'bash') for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith('#')]


def how_to(name: str) -> Path:
    return ROOT / 'docs' / 'how-to' / f'{name}.md'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository with a tiny synthetic data set, to write in."""
    for name in ('tools', 'tests', 'wsss_plugins', 'pyproject.toml'):
        (tmp_path / name).symlink_to(ROOT / name)
    for config in (ROOT / 'configs').rglob('*.py'):
        copy = tmp_path / config.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(config.read_text('utf-8'), 'utf-8')
    write_devkit(tmp_path / 'data/synthetic', SyntheticSpec(), 3, 2, workers=1)
    return tmp_path


def write_files(page: Path, folder: Path) -> list[str]:
    """Writes the blocks that begin with ``# name.py``; returns the names."""
    names = []
    for text in blocks(page, 'python'):
        marked = re.match(r'# ([\w/]+\.py)\n', text)
        if marked:
            path = folder / marked[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, 'utf-8')
            names.append(marked[1])
    return names


DRIVER = """
import json, pathlib, runpy, shlex, sys
import pytest
for command in json.loads(sys.argv[1]):
    words = [w for w in shlex.split(command) if w not in ('PYTHONPATH=.', 'python')]
    print('$', command, flush=True)
    if words[:2] == ['-m', 'pytest']:
        assert pytest.main(words[2:]) == 0
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name='__main__')
"""


def run(folder: Path, *commands: str) -> list[str]:
    """Runs lines of shell blocks in one process; returns what each printed."""
    environment = {'PYTHONPATH': '.', 'OMP_NUM_THREADS': '1', 'COLUMNS': '200'}
    done = subprocess.run(
        [sys.executable, '-c', DRIVER, json.dumps(commands)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f'{done.stdout}\n{done.stderr}'
    return done.stdout.split('$ ')[1:]


def metrics(work_dir: Path, stage: str) -> dict[str, float]:
    record = StageRecord.load(work_dir / stage)
    assert record is not None and record.done
    return record.metrics


@pytest.mark.slow
def test_add_a_seed_head(checkout: Path) -> None:
    page = how_to('add_a_seed_head')
    assert 'my_heads.py' in write_files(page, checkout)
    contract, *_ = run(checkout, *commands(page))
    assert int(re.search(r'(\d+) passed', contract)[1]) >= 20
    scores = metrics(checkout / 'work_dirs/mine/attended_pipeline', 'score')
    assert 0 < scores['best_miou'] < 100
    record = StageRecord.load(checkout / 'work_dirs/attended/cam')
    assert record.provenance['head'] == 'AttendedCAM'


@pytest.mark.slow
def test_add_a_refiner(checkout: Path) -> None:
    page = how_to('add_a_refiner')
    assert 'my_refiners.py' in write_files(page, checkout)
    contract, _ = run(checkout, *commands(page))
    assert int(re.search(r'(\d+) passed', contract)[1]) >= 8
    work_dir = checkout / 'work_dirs/mine/blurred_pipeline'
    assert 0 < metrics(work_dir, 'score')['miou'] < 100
    record = StageRecord.load(work_dir / 'pseudo')
    assert record.provenance['refiners'] == ['PowerBackground', 'BoxBlur']


@pytest.mark.slow
def test_add_a_pipeline(checkout: Path) -> None:
    page = how_to('add_a_pipeline')
    assert 'my_stages.py' in write_files(page, checkout)
    dry, full, part = commands(page)
    plan, first, again, second = run(checkout, dry, full, dry, part)
    assert plan.count(' new ') == again.count(' done ') == 7
    assert 'short_pipeline/report/report.html' in first
    work_dir = checkout / 'work_dirs/mine/short_pipeline'
    maps = [load_label_map(p) for p in (work_dir / 'pseudo/labels').glob('*.png')]
    share = 100 * np.mean([m > 0 for m in maps])
    assert metrics(work_dir, 'coverage')['foreground'] == pytest.approx(share, abs=0.01)
    assert 'classifier: ' not in second  # done: nothing ran again


PHOTOS = {'a.jpg': 'dog;sofa', 'b.jpg': 'cat', 'c.jpg': '', 'd.jpg': 'dog'}


@pytest.mark.slow
def test_photos_without_code(checkout: Path) -> None:
    page = how_to('add_a_data_set')
    write_files(page, checkout)
    root = checkout / 'data/photos'
    (root / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in PHOTOS:
        noise = rng.integers(0, 256, (48, 80, 3), np.uint8)
        Image.fromarray(noise).resize((160, 96)).save(root / 'images' / name)
    with (root / 'train.csv').open('w', newline='') as file:
        csv.writer(file).writerows([('file', 'tags'), *PHOTOS.items()])
    (command,) = [line for line in commands(page) if 'photos_pipeline' in line]
    options = {
        'model.backbone.name': 'deit_tiny_patch16_224',
        'model.backbone.pretrained': False,  # tests have no network
        'train_cfg.max_epochs': 1,
    }
    run(checkout, f'{command} --cfg-options "pipeline.0.options={options}"')
    labels = checkout / 'work_dirs/mine/photos_pipeline/pseudo/labels'
    allowed = {'a': {0, 2, 3}, 'b': {0, 1}, 'c': {0}, 'd': {0, 2}}
    for name, values in allowed.items():
        label = load_label_map(labels / f'{name}.png')
        assert label.shape == (96, 160) and set(np.unique(label)) <= values


def test_data_set_with_code(tmp_path: Path) -> None:
    write_files(how_to('add_a_data_set'), tmp_path)
    code = (tmp_path / 'my_datasets.py').read_text('utf-8')
    assert 'ClassFolders' not in DATASETS.module_dict
    try:
        exec(compile(code, 'my_datasets.py', 'exec'), {})
        for file in ('cat/x.jpg', 'dog/y.jpg', 'dog/z.jpg'):
            path = tmp_path / 'photos/train' / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (9, 5)).save(path)
        cfg = dict(type='ClassFolders', data_root=tmp_path / 'photos', split='train')
        dataset = build_as(DATASETS, cfg, WSSSDataset)
        assert dataset.ids == ['x', 'y', 'z']
        assert dataset.foreground_classes == ('cat', 'dog')
        labels = [dataset.labels(i).tolist() for i in range(3)]
        assert labels == [[1, 0], [0, 1], [0, 1]]
        with pytest.raises(DataError, match='training on ground-truth masks'):
            build_as(DATASETS, dict(cfg, label_maps='SegmentationClass'), WSSSDataset)
        with pytest.raises(DataError, match='name a folder as the split'):
            build_as(DATASETS, dict(cfg, split='test'), WSSSDataset)
    finally:
        DATASETS.module_dict.pop('ClassFolders', None)


def documented() -> list[str]:
    return sorted({line for page in PAGES for line in commands(page)})


@pytest.fixture
def options_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Finds the options of a tool in what it prints with --help."""

    def read(tool: str, *command: str) -> set[str]:
        monkeypatch.setattr(sys, 'argv', [tool, *command, '--help'])
        with pytest.raises(SystemExit):
            runpy.run_path(str(ROOT / tool), run_name='tool')['main']()
        return set(re.findall(r'--[a-z][a-z-]+', capsys.readouterr().out))

    return read


@pytest.mark.parametrize('line', documented())
def test_commands_name_what_exists(line: str, options_of) -> None:
    """Tools, their options, make targets, configs and the keys of --cfg-options."""
    words = [w for w in shlex.split(line) if not re.match(r'[A-Z_]+=', w)]
    if words[0] == 'make':
        targets = re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
    for tool in (word for word in words if word.startswith('tools/')):
        assert (ROOT / tool).is_file()
        name = re.sub(r'dist_(\w+)\.sh', r'\1.py', tool)
        if '_pipeline.py' in line and name == 'tools/train.py':
            name = 'tools/run_pipeline.py'
        command = words[2:3] if name == 'tools/prepare_data.py' else ()
        given = {word for word in words if word.startswith('--')}
        assert given <= options_of(name, *command)
    for config in (word for word in words if word.startswith('configs/')):
        if '/mine/' not in config:
            check_options(config, words)


def check_options(config: str, words: list[str]) -> None:
    """Applies the documented --cfg-options and checks every name of the result."""
    after = (
        words[words.index('--cfg-options') + 1 :] if '--cfg-options' in words else []
    )
    pairs = takewhile(lambda word: not word.startswith('--'), after)
    known = [pair for pair in pairs if 'my_heads' not in pair]
    check_config(load_config(ROOT / config, parse_options(known)).to_dict())
