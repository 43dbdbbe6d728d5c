"""Every tool looks at the data before it trains, tests or predicts, and says what it saw."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from mmengine.config import Config
from trees import half_mask, make_folder

from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit
from wsss_plugins.errors import DataError
from wsss_plugins.experiment.lone_training import LoneTraining
from wsss_plugins.structures import load_label_map, save_label_map

SEGMENTOR = tiny.ROOT / 'configs/deeplabv2/synthetic.py'


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """A data set whose validation has a mask of another size than its photo."""
    spec = SyntheticSpec(size=(32, 40))
    write_devkit(tmp_path / 'data', spec, 4, 4, 1)
    root = tmp_path / 'data/VOC2012'
    path = sorted((root / 'SegmentationClass').glob('*.png'))[-1]
    save_label_map(path, np.zeros((8, 9), np.uint8))
    return root


def test_a_test_refuses_masks_that_do_not_fit_before_it_reads_weights(
    own_data: Path, tmp_path: Path, refused, monkeypatch
) -> None:
    torch.save({}, tmp_path / 'weights.pth')

    def read(*_: object, **__: object) -> None:
        pytest.fail('weights were read before the data was looked at')

    monkeypatch.setattr('wsss_plugins.backbones.weights.read_checkpoint', read)
    words = [SEGMENTOR, tmp_path / 'weights.pth', '--data-root', own_data]
    words += ['--work-dir', tmp_path / 'work']
    for more in ([], ['--multi-scale']):
        message = refused('test.py', *words, *more)
        assert 'is 8 x 9 and its photo 32 x 40 (H x W): a mask must have' in message


def test_a_grid_refuses_them_before_its_first_stage(
    own_data: Path, tmp_path: Path, refused, monkeypatch
) -> None:
    monkeypatch.setattr(
        'wsss_plugins.experiment.matrix.run.refusals', lambda stages: {}
    )
    words = [tiny.ROOT / 'configs/matrix/synthetic.py', '--data-root', own_data]
    for more in ([], ['--dry-run']):
        message = refused('run_matrix.py', *words, '--work-dir', tmp_path / 'w', *more)
        assert 'is 8 x 9 and its photo 32 x 40 (H x W)' in message
    assert not list((tmp_path / 'w').glob('seed_*/*/record.json'))


def folder_training(root: Path) -> Config:
    """A segmentor's config of two photos with label maps in ``pseudo``."""
    make_folder(root, [('a.png', 'cat'), ('b.png', 'dog')])
    for i, name in enumerate('ab'):
        save_label_map(root / f'pseudo/{name}.png', half_mask(1 + i))
    images = dict(type='FolderWSSS', data_root=str(root), split='train')
    return Config(
        dict(
            model=dict(type='WSSSClassifier'),
            train_dataloader=dict(dataset=dict(images, label_maps='pseudo')),
        )
    )


def test_label_maps_to_train_on_are_looked_at_too(tmp_path: Path, monkeypatch) -> None:
    trained = []
    monkeypatch.setattr(
        'wsss_plugins.experiment.lone_training.train_alone',
        lambda *arguments: trained.append(arguments) or ({}, None),
    )
    told: list[str] = []

    def tell(looks) -> None:
        told.extend(line for look in looks for line in look.lines())

    cfg = folder_training(tmp_path / 'photos')
    LoneTraining(cfg).run(tmp_path / 'work', tell=tell)
    assert told == [
        f'{tmp_path / "photos"} train: 2 photos, 0 without tags, 2 with masks; photos by '
        'class: cat 1, dog 1'
    ]
    assert len(trained) == 1
    path = tmp_path / 'photos/pseudo/b.png'
    save_label_map(path, load_label_map(path)[:, :4])
    with pytest.raises(DataError, match=r'b\.png is 6 x 4 and its photo 6 x 10'):
        LoneTraining(cfg).run(tmp_path / 'other')
    assert len(trained) == 1


@pytest.mark.slow
def test_train_says_it_before_the_first_epoch(
    data_root: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    words = tiny.train(data_root, tmp_path / 'work')
    monkeypatch.setattr(sys, 'argv', ['train.py', *map(str, words)])
    runpy.run_path(str(tiny.TOOLS / 'train.py'), run_name='__main__')
    first, second, third, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f'{data_root} train: 24 photos, ')
    assert second.startswith(f'{data_root} val: 12 photos, ')
    assert third.startswith('multilabel/mAP ')
