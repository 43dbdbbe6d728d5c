"""One process and two, with workers and without: the same training."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from safetensors.torch import load_file
from torch import Tensor, multiprocessing
from trees import make_folder

import wsss_plugins.datasets
import wsss_plugins.metrics  # noqa: F401  (registers)
from wsss_plugins.engine import workers as processes
from wsss_plugins.engine.workers import rank, worker_group
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import HOOKS
from wsss_plugins.stages import build_runner
from wsss_plugins.stages.train import runner_config

COUNT, EPOCHS = 8, 2
KEPT = 'first_epoch.pth'


@HOOKS.register_module()
class KeepFirst(Hook):
    """Keeps the file to resume from after the first epoch."""

    priority = 'LOWEST'

    def after_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == 0 and rank() == 0:
            folder = Path(runner.work_dir)
            shutil.copy(folder / 'resume.pth', folder / KEPT)


def config(root: Path, batch_size: int, workers: int = 0, **loader: bool) -> Config:
    """A tiny classifier with random flips, sizes and crops, and no randomness of its own."""
    pipeline = [
        dict(type='LoadImage'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='ResizeLongSide', low=16, high=40),
        dict(type='RandomCropPad', size=(16, 24)),
        dict(type='PackClassInputs'),
    ]
    dataset = dict(
        type='FolderWSSS', data_root=str(root), split='train', pipeline=pipeline
    )
    backbone = dict(
        type='TimmViT', img_size=16, patch_size=8, embed_dim=16, depth=2, num_heads=2
    )
    return Config(
        dict(
            model=dict(
                type='WSSSClassifier',
                backbone=backbone,
                head=dict(type='TokenHead', num_classes=2),
            ),
            train_dataloader=dict(
                batch_size=batch_size,
                num_workers=workers,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dataset,
                **loader,
            ),
            train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.3, momentum=0.9)),
            param_scheduler=dict(type='PolyLR', end=1.0, convert_to_iter_based=True),
            custom_hooks=[dict(type='KeepFirst')],
        )
    )


def train(cfg: Config, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    build_runner(cfg, folder, 5, 'train').train()


def train_share(rank: int, root: Path, folder: Path, port: str, workers: int) -> None:
    """What torchrun does for one of two processes."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2',
        MASTER_ADDR='127.0.0.1', MASTER_PORT=port,
    )  # fmt: skip
    torch.set_num_threads(1)
    with worker_group():
        train(config(root, COUNT // 2, workers), folder)


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / 'weights.safetensors')


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tags = ['cat', 'dog', 'cat;dog', '']
    rows = [(f'{i}.png', tags[i % 4]) for i in range(COUNT)]
    return make_folder(tmp_path / 'data', rows)


@pytest.mark.parametrize('count, share', [(1, 12), (2, 6), (4, 3), (12, 1)])
def test_the_batch_is_shared(data, tmp_path, monkeypatch, count, share) -> None:
    monkeypatch.setattr(processes, 'world_size', lambda: count)
    cfg = config(data, 12)
    assert runner_config(cfg, tmp_path, 0, '').train_dataloader.batch_size == share
    assert cfg.train_dataloader.batch_size == 12, 'the record says the whole batch'


@pytest.mark.parametrize('count', [5, 24])
def test_a_batch_that_cannot_be_shared_is_refused(
    data, tmp_path, monkeypatch, count
) -> None:
    monkeypatch.setattr(processes, 'world_size', lambda: count)
    with pytest.raises(
        ConfigError, match='batch_size=12 is the batch of all workers'
    ) as e:
        runner_config(config(data, 12), tmp_path, 0, '')
    assert f'{count} workers cannot share it evenly: start 1, 2, 3, 4' in str(e.value)


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 1])
def test_two_processes_train_as_one(data, tmp_path, workers) -> None:
    """Half the batch each: the same images, cut and turned alike, and the same weights.

    What two processes began one process ends, with the same schedule.
    """
    train(config(data, COUNT // 2), tmp_path / 'one')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = str(probe.getsockname()[1])
    arguments = (data, tmp_path / 'two', port, workers)
    multiprocessing.spawn(train_share, arguments, nprocs=2)
    one, two = weights(tmp_path / 'one'), weights(tmp_path / 'two')
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=2e-6, msg=name)
    (tmp_path / 'resumed').mkdir()
    shutil.copy(tmp_path / 'two' / KEPT, tmp_path / 'resumed/resume.pth')
    train(config(data, COUNT // 2), tmp_path / 'resumed')
    for name, value in weights(tmp_path / 'resumed').items():
        torch.testing.assert_close(value, one[name], rtol=1e-4, atol=2e-6, msg=name)
    other = config(data, COUNT // 2)
    other.train_dataloader.dataset.pipeline[1].prob = 0.0
    train(other, tmp_path / 'other')
    moved = [(v - weights(tmp_path / 'other')[k]).abs().max() for k, v in one.items()]
    assert max(moved) > 1e-3, 'other flips would show'


@pytest.mark.slow
def test_workers_of_the_data_loader_change_nothing(data, tmp_path) -> None:
    """Not even a bit, and dropout of the model does not see them either."""

    def trained(name: str, workers: int, **loader: bool) -> dict[str, Tensor]:
        cfg = config(data, 4, workers, **loader)
        cfg.model.drop_patches = 0.5
        train(cfg, tmp_path / name)
        return weights(tmp_path / name)

    none = trained('none', 0)
    for name, other in (
        ('two', trained('two', 2)),
        ('kept', trained('kept', 2, persistent_workers=True)),
    ):
        assert all(torch.equal(other[key], none[key]) for key in none), name
