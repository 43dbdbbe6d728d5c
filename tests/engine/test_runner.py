"""Training: checkpoints without code, exact resumption, shares of workers."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Dataset

from wsss_plugins.engine import workers as distributed
from wsss_plugins.engine.model_file import save_model_config
from wsss_plugins.engine.runner import sort_metadata
from wsss_plugins.errors import CheckpointError, ConfigError, UserError
from wsss_plugins.registry import DATASETS, MODELS
from wsss_plugins.stages import build_runner, load_trained


class Noise(Dataset):
    """Points whose augmentation is drawn from torch's and numpy's global state."""

    metainfo = dict(classes=('a',))

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return dict(x=torch.randn(4) + np.random.rand() + index)


class Line(BaseModel):
    """A linear model with dropout and batch norm."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))
        self.factor = factor

    def forward(
        self, x: list[torch.Tensor], mode: str = 'tensor'
    ) -> dict[str, torch.Tensor]:
        return dict(loss=self.factor * self.layers(torch.stack(x)).square().mean())


@pytest.fixture(autouse=True)
def registered():
    DATASETS.register_module(module=Noise)
    MODELS.register_module(module=Line)
    yield
    DATASETS.module_dict.pop('Noise')
    MODELS.module_dict.pop('Line')


def config(epochs: int = 4, workers: int = 0, **model: float) -> Config:
    return Config(
        dict(
            model=dict(type='Line', **model),
            train_dataloader=dict(
                batch_size=4,
                num_workers=workers,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(type='Noise'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.05)),
            param_scheduler=[
                dict(type='CosineAnnealingLR', T_max=1.0, convert_to_iter_based=True)
            ],
        )
    )


def trained(folder: Path, **kwargs: float) -> dict[str, torch.Tensor]:
    folder.mkdir(exist_ok=True)
    build_runner(config(**kwargs), folder, 3, 'train').train()
    return load_file(folder / 'weights.safetensors')


def train_until(folder: Path, epoch: int, monkeypatch, **kwargs: float) -> None:
    """Stops with an exception in the middle of the epoch after ``epoch``."""
    seen = []

    def stop(self: Line, x: list[torch.Tensor], mode: str = 'tensor') -> dict:
        seen.append(0)
        if len(seen) > 3 * epoch + 1:
            raise KeyboardInterrupt
        return forward(self, x, mode)

    forward = Line.forward
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Line, 'forward', stop)
        trained(folder, **kwargs)


def test_a_schedule_that_begins_after_its_end_is_one_line(tmp_path) -> None:
    cfg = config(epochs=1)
    cfg.param_scheduler[0].update(begin=1, T_max=3)
    with pytest.raises(ConfigError, match=r'\(max_epochs=1\): end should be larger'):
        build_runner(cfg, tmp_path, 3, 'train').train()


@pytest.mark.parametrize('epoch', [1, 3])
def test_resumed_training_is_exact(tmp_path, monkeypatch, epoch) -> None:
    """Weights, buffers, optimiser, schedule, shuffling, dropout, augmentation."""
    whole = trained(tmp_path / 'whole')
    train_until(tmp_path / 'parts', epoch, monkeypatch)
    assert not (tmp_path / 'parts/weights.safetensors').exists()
    point = torch.load(tmp_path / 'parts/resume.pth', weights_only=True)
    assert point['meta']['epoch'] == epoch and point['meta']['iter'] == 3 * epoch
    resumed = trained(tmp_path / 'parts')
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_epochs_do_not_repeat_and_seeds_differ(tmp_path) -> None:
    one = trained(tmp_path / 'one', epochs=1)
    two = trained(tmp_path / 'two', epochs=2)
    assert not torch.equal(one['layers.2.weight'], two['layers.2.weight'])
    runner = build_runner(config(epochs=1), tmp_path / 'three', 4, 'train')
    (tmp_path / 'three').mkdir(exist_ok=True)
    runner.train()
    other = load_file(tmp_path / 'three/weights.safetensors')
    assert not torch.equal(one['layers.2.weight'], other['layers.2.weight'])


def test_finished_training_is_not_repeated(tmp_path) -> None:
    first = trained(tmp_path)
    stamp = (tmp_path / 'resume.pth').stat().st_mtime_ns
    assert trained(tmp_path).keys() == first.keys()
    assert (tmp_path / 'resume.pth').stat().st_mtime_ns == stamp


def test_checkpoint_holds_no_code_and_gives_the_weights_back(tmp_path) -> None:
    final = trained(tmp_path, epochs=1)
    point = torch.load(tmp_path / 'resume.pth', weights_only=True)
    assert set(point) >= {'meta', 'state_dict', 'optimizer', 'param_schedulers'}
    assert all(torch.equal(point['state_dict'][k], final[k]) for k in final)
    save_model_config(config().model, tmp_path)
    model = load_trained(tmp_path, Line)
    assert not model.training
    assert all(torch.equal(v, final[k]) for k, v in model.state_dict().items())
    with pytest.raises(ConfigError, match='Line is no model: a subclass of Linear is'):
        load_trained(tmp_path, nn.Linear)


def test_loading_what_was_not_trained(tmp_path) -> None:
    with pytest.raises(CheckpointError) as error:
        load_trained(tmp_path / 'x', Line)
    assert str(error.value) == (
        f'{tmp_path / "x"} holds no trained model (model.json, weights.safetensors): '
        'run the stage that trains it'
    )


def test_weights_cannot_be_resumed(tmp_path) -> None:
    torch.save({'a': torch.zeros(1)}, tmp_path / 'resume.pth')
    with pytest.raises(CheckpointError, match='holds weights only and cannot be resum'):
        build_runner(config(), tmp_path, 0, 'train').train()


@pytest.mark.parametrize('factor', [math.nan, math.inf])
def test_loss_that_is_no_number_stops_training(tmp_path, factor) -> None:
    with pytest.raises(UserError) as error:
        trained(tmp_path, factor=factor)
    assert str(error.value) == (
        f'train: the loss is {factor} in epoch 1, iteration 1: lower the learning rate '
        '(optim_wrapper.optimizer.lr) or clip gradients (optim_wrapper.clip_grad), '
        'then run again'
    )
    assert not (tmp_path / 'resume.pth').exists()


def test_training_by_iterations_is_refused(tmp_path) -> None:
    cfg = config()
    cfg.train_cfg = dict(by_epoch=False, max_iters=5)
    with pytest.raises(ConfigError, match='train_cfg must count epochs'):
        build_runner(cfg, tmp_path, 0, 'train')


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU has mixed precision')
def test_mixed_precision_without_a_gpu_is_refused(tmp_path) -> None:
    cfg = config()
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    runner = build_runner(cfg, tmp_path, 0, 'train')
    with pytest.raises(
        ConfigError, match=r'^AmpOptimWrapper .* needs a GPU.*: set speed.prec'
    ):
        runner.train()


def test_hooks_that_are_no_list_are_refused(tmp_path) -> None:
    cfg = config()
    cfg.custom_hooks = '[dict(type=MomentumHook)]'
    with pytest.raises(ConfigError, match='custom_hooks must be a list of hooks'):
        build_runner(cfg, tmp_path, 0, 'test')


def test_config_is_left_alone(tmp_path) -> None:
    cfg = config()
    before = cfg.pretty_text
    build_runner(cfg, tmp_path, 0, 'train')
    assert cfg.pretty_text == before


@pytest.mark.parametrize('workers', [1, 2, 3])
def test_shares_of_workers_are_all_there_is(monkeypatch, workers) -> None:
    items = list('abcdefgh')
    monkeypatch.setattr(distributed, 'world_size', lambda: workers)
    shares = []
    for rank in range(workers):
        monkeypatch.setattr(distributed, 'rank', lambda rank=rank: rank)
        shares.append(list(distributed.share_of(items)))
    assert sorted(x for share in shares for x in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert distributed.gather('x') == ['x']


def test_loaded_weights_survive_mmengines_initialisation(
    tiny_classifier, tmp_path
) -> None:
    """mmengine initialises every module of a model when training begins, timm's too."""
    from wsss_plugins.backbones import TimmViT

    first = tiny_classifier()
    torch.save(first.backbone.state_dict(), tmp_path / 'vit.pth')
    arch = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)
    second = tiny_classifier()
    second.backbone = TimmViT(pretrained=str(tmp_path / 'vit.pth'), **arch)
    second.init_weights()
    for name, value in first.backbone.state_dict().items():
        torch.testing.assert_close(second.backbone.state_dict()[name], value, msg=name)


def test_a_trained_model_needs_no_pretrained_file(tiny_classifier, tmp_path) -> None:
    """The weights a model began with are neither read nor downloaded again."""
    from safetensors.torch import save_file

    from wsss_plugins.classifiers import WSSSClassifier

    model = tiny_classifier()
    save_file(model.state_dict(), tmp_path / 'weights.safetensors')
    arch = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)
    config = dict(
        type='WSSSClassifier',
        backbone=dict(type='TimmViT', pretrained='gone.pth', **arch),
        head=dict(type='TokenHead', num_classes=5),
    )
    save_model_config(config, tmp_path)
    loaded = load_trained(tmp_path, WSSSClassifier)
    torch.testing.assert_close(loaded.head.fc.weight, model.head.fc.weight)
    assert config['backbone']['pretrained'] == 'gone.pth'


def test_texts_of_a_header_are_in_one_order(tmp_path) -> None:
    """safetensors writes them in another order each time; equal files were unequal."""
    tensors = dict(b=torch.arange(6.0).view(2, 3), a=torch.ones(2, dtype=torch.int64))
    texts = dict(card='{"ü": 1}', classes='["cat"]', supervision='none')
    contents = set()
    for order in itertools.permutations(texts):
        path = tmp_path / 'x.safetensors'
        save_file(tensors, path, {key: texts[key] for key in order})
        sort_metadata(path)
        contents.add(path.read_bytes())
    assert len(contents) == 1
    loaded = load_file(path)
    assert all(torch.equal(loaded[key], value) for key, value in tensors.items())
    with safe_open(str(path), 'pt') as file:
        assert file.metadata() == texts
