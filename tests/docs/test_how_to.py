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
from dataclasses import dataclass
from itertools import chain, takewhile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.cli import parse_options
from wsss_plugins.command.main import main
from wsss_plugins.config import check_config, load_config
from wsss_plugins.config_files import config_names, find_config
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit
from wsss_plugins.engine import StageRecord
from wsss_plugins.engine.model_file import save_model_config
from wsss_plugins.errors import DataError
from wsss_plugins.registry import DATASETS, MODELS, build_as
from wsss_plugins.structures import Seed, load_label_map

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
FENCE = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code of one language."""
    found = FENCE.findall(page.read_text('utf-8'))
    return [text for name, text in found if name == language]


def commands(page: Path) -> list[str]:
    """The commands of the shell blocks; one may go over several lines."""
    texts = [text.replace('\\\n', ' ') for text in blocks(page, 'bash')]
    return [' '.join(line.split()) for text in texts for line in text.splitlines()]


def how_to(name: str) -> Path:
    return ROOT / 'docs' / 'how-to' / f'{name}.md'


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
import json, runpy, shlex, sys
import pytest
for command in json.loads(sys.argv[1]):
    words = [w for w in shlex.split(command) if w not in ('PYTHONPATH=.', 'python')]
    print('$', command, flush=True)
    if words[:2] == ['-m', 'pytest']:
        for name in [name for name in sys.modules if name.startswith('test_')]:
            del sys.modules[name]  # it has looked up the plug-ins of before
        assert pytest.main(words[2:]) == 0
    else:
        sys.argv = words
        if words[0] == 'wsss':
            runpy.run_module('wsss_plugins.command', run_name='__main__')
        else:
            runpy.run_path(words[0], run_name='__main__')
"""
"""Runs commands one after the other in one process, which saves the imports."""

TAGS = {'a.jpg': 'dog;sofa', 'b.jpg': 'cat', 'c.jpg': ''}
TRAINED_AT_ONCE = {
    'model.backbone.name': 'deit_tiny_patch16_224',
    'model.backbone.pretrained': False,  # tests have no network
    'train_cfg.max_epochs': 1,
}


def make_checkout(folder: Path) -> None:
    """A copy of the repository with tiny data sets, to write in."""
    for name in ('tools', 'tests', 'wsss_plugins', 'pyproject.toml'):
        (folder / name).symlink_to(ROOT / name)
    for config in (ROOT / 'configs').rglob('*.py'):
        copy = folder / config.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(config.read_text('utf-8'), 'utf-8')
    write_devkit(folder / 'data/synthetic', SyntheticSpec(), 3, 2, workers=1)
    photos = folder / 'data/photos'
    (photos / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in TAGS:
        noise = rng.integers(0, 256, (48, 80, 3), np.uint8)
        Image.fromarray(noise).resize((160, 96)).save(photos / 'images' / name)
    with (photos / 'train.csv').open('w', newline='') as file:
        csv.writer(file).writerows([('file', 'tags'), *TAGS.items()])


@dataclass(frozen=True)
class Ran:
    """What all how-to pages left behind.

    Attributes:
        folder: The checkout they were run in.
        printed: Output of each command, by page.
    """

    folder: Path
    printed: dict[str, list[str]]

    def record(self, work_dir: str, stage: str) -> StageRecord:
        found = StageRecord.load(self.folder / 'work_dirs' / work_dir / stage)
        assert found is not None and found.done
        return found


@pytest.fixture(scope='module')
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Writes the files of every page and runs its commands as they stand there."""
    folder = tmp_path_factory.mktemp('checkout')
    make_checkout(folder)
    pages = (
        'add_a_seed_head',
        'add_a_rule',
        'add_a_refiner',
        'add_a_pipeline',
        'add_a_data_set',
        'refine_seeds',
    )
    lines = {page: commands(how_to(page)) for page in pages}
    lines['add_a_data_set'][0] += (
        f' --cfg-options "pipeline.classifier.options={TRAINED_AT_ONCE}"'
    )
    for page in pages:
        write_files(how_to(page), folder)
    environment = {'PYTHONPATH': '.', 'OMP_NUM_THREADS': '1', 'COLUMNS': '200'}
    done = subprocess.run(
        [sys.executable, '-c', DRIVER, json.dumps([*chain(*lines.values())])],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f'{done.stdout}\n{done.stderr}'
    outputs = iter(done.stdout.split('$ ')[1:])
    return Ran(folder, {page: [next(outputs) for _ in lines[page]] for page in pages})


@pytest.mark.slow
def test_add_a_seed_head(ran: Ran) -> None:
    plain, gradients, *_ = ran.printed['add_a_seed_head']
    for contract in (plain, gradients):
        assert int(re.search(r'(\d+) passed', contract)[1]) >= 90, 'of every model too'
    scores = ran.record('mine/attended_pipeline', 'score').metrics
    assert 0 < scores['best_miou'] < 100
    assert ran.record('attended', 'cam').provenance['head'] == 'AttendedCAM'


@pytest.mark.slow
def test_add_a_rule(ran: Ran) -> None:
    (contract,) = ran.printed['add_a_rule']
    assert int(re.search(r'(\d+) passed', contract)[1]) >= 20


def test_rule_and_composite(tmp_path, monkeypatch, capsys) -> None:
    """The rule, and what the page does with it outside a seed head."""
    page = how_to('add_a_rule')
    write_files(page, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    conserves, alone = blocks(page, 'python')[2:]
    for code in (conserves, alone):
        exec(compile(code, 'add_a_rule.py', 'exec'), {})
    assert capsys.readouterr().out == 'torch.Size([4, 8])\n'


@pytest.mark.parametrize('page', ['add_a_rule', 'add_a_seed_head', 'add_a_refiner'])
def test_plug_ins_are_short(page: str) -> None:
    for text in blocks(how_to(page), 'python')[:2]:
        if re.match(r'# my_\w+\.py\n', text):
            assert len(text.strip().splitlines()) <= 26, 'a name and 25 lines'


@pytest.mark.slow
def test_add_a_refiner(ran: Ran) -> None:
    contract, _ = ran.printed['add_a_refiner']
    assert int(re.search(r'(\d+) passed', contract)[1]) >= 8
    assert 0 < ran.record('mine/blurred_pipeline', 'score').metrics['miou'] < 100
    made = ran.record('mine/blurred_pipeline', 'pseudo').provenance
    assert made['refiners'] == ['PowerBackground', 'BoxBlur']


@pytest.mark.slow
def test_add_a_pipeline(ran: Ran) -> None:
    plan, first, second, softer = ran.printed['add_a_pipeline']
    assert plan.count(' new ') == 7
    assert softer.count(' new ') == 9
    assert 'short_pipeline/report/report.html' in first
    folder = ran.folder / 'work_dirs/mine/short_pipeline/pseudo/labels'
    share = 100 * np.mean([load_label_map(path) > 0 for path in folder.glob('*.png')])
    coverage = ran.record('mine/short_pipeline', 'coverage').metrics
    assert coverage['foreground'] == pytest.approx(share, abs=0.01)
    assert second.split('s in all')[0].count('\n') > 5  # the records of what is done


@pytest.mark.slow
def test_photos_without_code(ran: Ran) -> None:
    labels = ran.folder / 'work_dirs/mine/photos_pipeline/pseudo/labels'
    for name, values in {'a': {0, 2, 3}, 'b': {0, 1}, 'c': {0}}.items():
        label = load_label_map(labels / f'{name}.png')
        assert label.shape == (96, 160) and set(np.unique(label)) <= values
    assert 'ClassFolders' in ran.printed['add_a_data_set'][1]


@pytest.mark.slow
def test_refine_seeds(ran: Ran) -> None:
    record = ran.record('mine/refine_pipeline', 'pseudo')
    assert record.metrics['images'] == 3 and record.metrics['failed'] == 0
    assert record.provenance == dict(
        data='data/photos train',
        refiners=['ConstantBackground', 'PAMR', 'DenseCRF'],
        threshold='0.8 times label-free (otsu)',
    )
    folder = ran.folder / 'work_dirs/mine/refine_pipeline/pseudo'
    for name, object_id in {'a': 2, 'b': 1, 'c': 0}.items():
        label = load_label_map(folder / f'labels/{name}.png')
        assert object_id in label and set(np.unique(label)) <= {0, object_id}
        assert Seed.load(folder / f'seeds/{name}.npz').size == (96, 160)
    _, first, second = ran.printed['refine_seeds']
    assert 'images 3  failed 0  threshold 0.' in first
    assert ' pseudo ' in second, 'it is done, whatever the number of workers'


@pytest.mark.slow
def test_explain_a_photo(tmp_path, monkeypatch, capsys) -> None:
    make_checkout(tmp_path)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'work_dirs/acr/synthetic_pipeline/classifier'
    cfg = load_config('configs/acr/synthetic.py').model
    names = Path('data/synthetic/VOC2012/classes.txt').read_text().split()
    save_model_config(cfg, folder, names)
    model = build_as(MODELS, cfg, WSSSClassifier)
    save_file(model.state_dict(), folder / 'weights.safetensors')
    photo = Path('data/synthetic/VOC2012/JPEGImages/val_000001.jpg')
    own, timms = commands(how_to('explain_a_photo'))
    for command in (own, f'{timms} --untrained'):  # tests have no network
        _, *words = shlex.split(command)
        monkeypatch.setattr(sys, 'argv', words)
        runpy.run_path(words[0], run_name='__main__')
    said = capsys.readouterr().out
    assert f'{photo.name}: ' in said and 'bird.png: written' in said
    assert 'a.jpg: golden retriever ' in said and '%, tabby ' in said
    with Image.open('bird.png') as two_rows, Image.open('explained.png') as four:
        assert two_rows.width == four.width + 2 * 332, 'two more methods'
    (code,) = blocks(how_to('explain_a_photo'), 'python')
    exec(compile(code, 'explain_a_photo.py', 'exec'), {})
    lines = capsys.readouterr().out.splitlines()
    assert {line.split(':')[0] for line in lines} < set(names)
    assert [re.sub(r'\d+', 'N', line.split(': ')[1]) for line in lines] == [
        'N%, most relevant at row N, column N'
    ] * 2


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


@pytest.mark.slow
def test_facts_of_the_synthetic_set(capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / 'docs' / 'data.md'
    (code,) = blocks(page, 'python')
    exec(compile(code, 'scene_facts.py', 'exec'), {})
    assert capsys.readouterr().out == blocks(page, 'text')[-1]


def documented() -> list[str]:
    return sorted({line for page in PAGES for line in commands(page)})


@pytest.fixture
def options_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Finds the options of a script or of ``wsss`` in what it prints with --help."""

    def read(tool: str, *command: str) -> set[str]:
        monkeypatch.setattr(sys, 'argv', [tool, *command, '--help'])
        with pytest.raises(SystemExit) as left:
            if tool == 'wsss':
                main()
            else:
                runpy.run_path(str(ROOT / tool), run_name='__main__')
        assert left.value.code == 0
        return set(re.findall(r'--[a-z][a-z-]+', capsys.readouterr().out))

    return read


@pytest.mark.parametrize('line', documented())
def test_commands_name_what_exists(line: str, options_of) -> None:
    """Commands, their options, make targets, configs and the keys of --cfg-options."""
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
        own = words[words.index(tool) :]  # what torchrun takes stands before
        given = {word for word in own if word.startswith('--')}
        assert given <= options_of(name, *command)
    configs = [word for word in words if word.startswith('configs/')]
    if words[0] == 'wsss':
        _, name, *rest = words
        command = (name, *rest[: name in ('prepare', 'list')])
        given = {word for word in rest if word.startswith('--')}
        assert given <= options_of('wsss', *command)
        if name in ON_A_CONFIG and rest[0].startswith(folders_of_configs()):
            configs = rest[:1]
    for config in configs:
        if '/mine/' not in config:
            check_options(config, words)


ON_A_CONFIG = ('train', 'test', 'run', 'matrix', 'export')


def folders_of_configs() -> tuple[str, ...]:
    """How a word begins that names a config of the package."""
    names = {name.partition('/')[0] for name in config_names()}
    return ('configs/', *(f'{name}/' for name in names))


def check_options(config: str, words: list[str]) -> None:
    """Applies the documented --cfg-options and checks every name of the result."""
    after = (
        words[words.index('--cfg-options') + 1 :] if '--cfg-options' in words else []
    )
    pairs = takewhile(lambda word: not word.startswith('--'), after)
    known = [pair for pair in pairs if 'my_heads' not in pair]
    file = find_config(config, beside=ROOT)
    check_config(load_config(file, parse_options(known)).to_dict())
