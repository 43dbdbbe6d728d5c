"""Every experiment of configs/acr: plans on trees of VOC, and the synthetic twins in small."""

from __future__ import annotations

import gc
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import archive_trees
import pytest
import tiny

from wsss_plugins.config import load_config
from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit
from wsss_plugins.engine import StageRecord
from wsss_plugins.experiment import Pipeline
from wsss_plugins.structures import load_json

CONFIGS = tiny.ROOT / 'configs/acr'
VOC = sorted(p.name for p in CONFIGS.glob('voc_*pipeline.py') if 'mini' not in p.name)
SYNTHETIC = sorted(path.name for path in CONFIGS.glob('synthetic_*pipeline.py'))


@pytest.fixture(scope='module', autouse=True)
def collected_at_once() -> Iterator[None]:
    """Every data set of mmengine collects garbage: spare it what was imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope='module')
def voc(tmp_path_factory) -> Path:
    """VOC 2012 as it is unpacked, with the list of train_aug."""
    root = archive_trees.make_devkit(tmp_path_factory.mktemp('voc'))
    lines = ''.join(f'{name}\n' for name in archive_trees.TRAIN_AUG)
    (root / 'ImageSets/Segmentation/train_aug.txt').write_text(lines)
    return root


@pytest.mark.slow
@pytest.mark.parametrize('name', [*VOC, *SYNTHETIC])
def test_dry_run(name, voc, data_root, tmp_path, monkeypatch, capsys) -> None:
    """Types, arguments, order of the stages and their data are right."""
    root = voc if name in VOC else data_root
    config, work = CONFIGS / name, tmp_path / 'work'
    command = ['run_pipeline.py', config, '--data-root', root, '--work-dir', work]
    monkeypatch.setattr(sys, 'argv', [*map(str, command), '--dry-run'])
    monkeypatch.setenv('COLUMNS', '250')
    weights = tmp_path / 'cwd/data/pretrained'  # looked for, and not read
    weights.mkdir(parents=True)
    for file in ('resnet101.pth', 'resnet38_ilsvrc.pth'):
        (weights / file).touch()
    monkeypatch.chdir(tmp_path / 'cwd')
    runpy.run_path(str(tiny.TOOLS / 'run_pipeline.py'), run_name='__main__')
    plan = capsys.readouterr().out
    stages = load_config(config).pipeline
    assert plan.count(' new ') == len(stages) > 1
    assert all(f' {stage["name"]} ' in plan for stage in stages)
    assert not work.exists()


# The twins, end to end ----------------------------------------------------------------


ROWS = dict(
    synthetic_figure1_pipeline=['seam'],
    synthetic_views_pipeline=['rotation', 'hflip_resize'],
    synthetic_distances_pipeline=['smooth_l1'],
    synthetic_backbones_pipeline=['mctformer_acr'],
    synthetic_modules_pretrained_pipeline=['act'],
    synthetic_direction_pipeline=['pretrained'],
)
"""Of the twins with a training in each row, those that are run."""

UNTRAINED = {'synthetic_pretrained.py': 'synthetic.py'}
"""Tiny networks cannot begin with the weights that are shipped."""


def small(file: Path, given: dict[str, Any]) -> dict[str, Any]:
    """The options of a training and those that shrink it to two epochs."""
    options = tiny.small_options(file)
    options['train_cfg.max_epochs'] = 2
    if options.get('model.in_channels'):  # of AffinityNet: the widths of a stem of 24
        options['model.in_channels'] = (6, 12, 24)
    return {**options, **given}


def shrink(cfg: Any, config: Path) -> None:
    """Fewer rows, smaller networks, smaller batches."""
    rows = ROWS.get(config.stem)
    if rows:
        ours = tuple(f'{row}_' for row in rows)
        cfg.pipeline = [
            stage for stage in cfg.pipeline if f'{stage["name"]}_'.startswith(ours)
        ]
    for stage in cfg.pipeline:
        if 'config' in stage:
            file, options = tiny.training(config, cfg, stage)
            stage['config'] = UNTRAINED.get(file.name, str(file))
            stage['options'] = small(config.parent / stage['config'], options)
        if stage['type'].__name__ in ('RefineStage', 'ConfidentLabelStage'):
            stage['workers'] = 1
        if 'batch_size' in stage:
            stage['batch_size'] = 8
        if 'layers' in stage.get('head', {}):
            stage['head']['layers'] = 2
        if 'values' in stage:  # two blocks
            stage['values'] = stage['values'][:2]


@pytest.fixture(scope='module')
def few(tmp_path_factory) -> Path:
    """8 training and 4 validation images of 32 x 40 pixels."""
    out = tmp_path_factory.mktemp('few')
    write_devkit(out, SyntheticSpec(size=(32, 40)), train=8, val=4, workers=1)
    return out / 'VOC2012'


def run(name: str, data_root: Path, work_dir: Path) -> dict[str, StageRecord | None]:
    """Runs a twin in small."""
    config = CONFIGS / name
    cfg = load_config(config)
    shrink(cfg, config)
    Pipeline(cfg, data_root=str(data_root)).run(work_dir)
    return {s['name']: StageRecord.load(work_dir / s['name']) for s in cfg.pipeline}


ELSEWHERE = (
    'synthetic_pipeline.py',  # tests/system/test_tiny_pipeline.py
    'synthetic_modules_pipeline.py',  # below
)


@pytest.mark.slow
@pytest.mark.parametrize('name', [n for n in SYNTHETIC if n not in ELSEWHERE])
def test_twin(name, few, tmp_path) -> None:
    """Every stage ends, and every number that the page names is a share of 100."""
    records = run(name, few, tmp_path)
    assert len(records) > 1
    for stage, record in records.items():
        assert record and record.done, stage
        if stage.endswith('_score') or stage == 'figure8':
            miou = record.metrics.get('best_miou', record.metrics.get('miou'))
            assert 0 < miou <= 100, stage


@pytest.mark.slow
def test_table_4(few, tmp_path) -> None:
    """Each row has its terms of the loss, and two numbers on train."""
    records = run('synthetic_modules_pipeline.py', few, tmp_path)
    assert len(records) == 4 * 6
    terms = dict(
        baseline=set(),
        act={'loss_act'},
        aff={'loss_aff'},
        both={'loss_act', 'loss_aff'},
    )
    for row, expected in terms.items():
        (log,) = (tmp_path / row).rglob('*.log')
        text = log.read_text()
        found = {term for term in ('loss_act', 'loss_aff') if f'{term}: ' in text}
        assert found == expected
        for kind in ('plain', 'refined'):
            scores = load_json(tmp_path / f'{row}_{kind}_score/scores.json')
            assert scores['card']['split']['name'] == 'train'
