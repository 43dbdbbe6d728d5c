"""Backends of mmengine's visualiser: TensorBoard and others, beside the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.visualization.vis_backend import BaseVisBackend
from torch.utils.data import Dataset

from wsss_plugins.engine.fingerprint import without_remarks
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import DATASETS, MODELS, VISBACKENDS
from wsss_plugins.stages import build_runner


class Ones(Dataset):
    """Points that are all alike."""

    metainfo = dict(classes=('a',))

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return dict(x=torch.ones(2))


class Dot(BaseModel):
    """A linear model."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x: list[torch.Tensor], mode: str = 'tensor') -> dict[str, Any]:
        return dict(loss=self.layer(torch.stack(x)).square().mean())


class NoPackage(BaseVisBackend):
    """A backend whose package is not installed."""

    def _init_env(self) -> None:
        raise ImportError('Please run "pip install nothing"\nto install nothing')

    @property
    def experiment(self) -> Any:
        return self._init_env()

    def add_config(self, config: Config, **kwargs: Any) -> None:
        pass

    add_graph = add_image = add_scalar = add_scalars = add_config


@pytest.fixture(autouse=True)
def registered():
    for registry, kind in ((DATASETS, Ones), (MODELS, Dot), (VISBACKENDS, NoPackage)):
        registry.register_module(module=kind)
    yield
    for registry, kind in ((DATASETS, Ones), (MODELS, Dot), (VISBACKENDS, NoPackage)):
        registry.module_dict.pop(kind.__name__)


def config(**more: Any) -> Config:
    return Config(
        dict(
            model=dict(type='Dot'),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(type='Ones'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=3),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
            **more,
        )
    )


def watched(folder: Path, *backends: Any) -> list[dict[str, Any]]:
    """Trains with these backends; returns the numbers in mmengine's file."""
    visualizer = dict(type='Visualizer', vis_backends=[*backends])
    cfg = config(visualizer=visualizer)
    before = cfg.to_dict()
    build_runner(cfg, folder, 0, 'train').train()
    assert cfg.to_dict() == before, 'the config is left alone'
    (path,) = folder.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_tensorboard_has_the_numbers_of_the_file(tmp_path) -> None:
    pytest.importorskip('tensorboard', reason='tensorboard is not installed')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    lines = watched(tmp_path, dict(type='TensorboardVisBackend'))
    (events,) = tmp_path.glob('*/vis_data/events.*')
    read = EventAccumulator(str(events))
    read.Reload()
    losses = [(each.step, each.value) for each in read.Scalars('loss')]
    assert len(losses) == 6
    assert losses == [(line['step'], pytest.approx(line['loss'])) for line in lines]


OTHERS = {
    'wandb': dict(type='WandbVisBackend', init_kwargs=dict(mode='offline')),
    'mlflow': dict(type='MLflowVisBackend'),
    'aim': dict(type='AimVisBackend'),
}
"""Backends that work without a network, by the package that they need."""


@pytest.mark.slow
@pytest.mark.parametrize('package', OTHERS)
def test_other_backends_run_where_they_are_installed(
    package: str, tmp_path, monkeypatch
) -> None:
    pytest.importorskip(package, reason=f'{package} is not installed')
    monkeypatch.chdir(tmp_path)
    assert len(watched(tmp_path / 'work', OTHERS[package])) == 6
    assert len([path for path in tmp_path.rglob('*') if path.is_file()]) > 5


def test_files_are_written_once_whatever_is_named(tmp_path) -> None:
    for i, backends in enumerate([[], [dict(type='LocalVisBackend')]]):
        lines = watched(tmp_path / str(i), *backends)
        assert [line['step'] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_backend_without_its_package_is_one_line(tmp_path) -> None:
    with pytest.raises(ConfigError, match='NoPackage cannot start') as caught:
        watched(tmp_path, dict(type='NoPackage'))
    assert '\n' not in str(caught.value) and 'install nothing' in str(caught.value)
    with pytest.raises(ConfigError, match="did you mean 'TensorboardVisBackend'"):
        watched(tmp_path, dict(type='TensorBoardVisBackend'))


def test_how_a_training_is_watched_is_no_part_of_its_result() -> None:
    plain, seen = (
        config().to_dict(),
        config(visualizer=dict(type='Visualizer')).to_dict(),
    )
    assert plain != seen
    assert without_remarks(dict(config=plain), ()) == without_remarks(
        dict(config=seen), ()
    )
