"""Schedules are shares of the training: its length, its batch and its workers bend none."""

from __future__ import annotations

import copy
import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from wsss_plugins.config import load_config
from wsss_plugins.engine.rates import names_of_groups
from wsss_plugins.engine.schedules import Length, counted, refuse_misfits
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import DATASETS, MODELS
from wsss_plugins.stages import build_runner

CONFIGS = Path(__file__).parents[2] / 'configs'
POLY = dict(type='PolyLR', power=0.9, eta_min=0.0, convert_to_iter_based=True)
COSINE = dict(type='CosineAnnealingLR', eta_min=1e-6, convert_to_iter_based=True)
WARM = dict(type='LinearLR', start_factor=0.1, convert_to_iter_based=True)


class Points(Dataset):
    metainfo = dict(classes=('a',))

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return dict(x=torch.full((4,), float(index)))


class Two(BaseModel):
    """Two layers, of which the second learns ten times as fast; notes its rates."""

    seen: list[float] = []
    stop_after = 0

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: list[torch.Tensor], mode: str = 'tensor') -> dict:
        return dict(loss=self.head(self.body(torch.stack(x))).square().mean())

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        if Two.stop_after and len(Two.seen) >= Two.stop_after:
            raise KeyboardInterrupt
        Two.seen.append(optim_wrapper.get_lr()['base_lr'][0])
        return super().train_step(data, optim_wrapper)


@pytest.fixture(autouse=True)
def registered():
    DATASETS.register_module(module=Points)
    MODELS.register_module(module=Two)
    Two.seen, Two.stop_after = [], 0
    yield
    DATASETS.module_dict.pop('Points')
    MODELS.module_dict.pop('Two')


def config(schedules: Any, epochs: int = 12, batch: int = 4, **keys: Any) -> Config:
    return Config(
        dict(
            model=dict(type='Two'),
            train_dataloader=dict(
                batch_size=batch,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(type='Points'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=1e-3),
                paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10))),
            ),
            param_scheduler=copy.deepcopy(schedules),
            **keys,
        )
    )


def rates(folder: Path, *args: Any, **kwargs: Any) -> list[float]:
    """The rate of every step of a training."""
    Two.seen = []
    folder.mkdir(exist_ok=True)
    build_runner(config(*args, **kwargs), folder, 1, 'train').train()
    return Two.seen


SHARES = dict(
    poly=[dict(POLY, end=1.0)],
    cosine=[dict(COSINE, T_max=1.0)],
    warm=[dict(WARM, end=0.1), dict(COSINE, begin=0.1, T_max=0.9)],
)


@pytest.mark.parametrize('epochs, batch', [(5, 4), (20, 4), (20, 8), (7, 3)])
@pytest.mark.parametrize('name', SHARES)
def test_length_and_batch_do_not_bend_a_schedule(tmp_path, name, epochs, batch) -> None:
    """The same curve over shares of the training; it ends low."""
    first = rates(tmp_path / 'a', SHARES[name], 10)
    other = rates(tmp_path / 'b', SHARES[name], epochs, batch)
    assert other[-1] < 0.05 * max(other)
    peak = int(np.argmax(other))
    assert all(a >= b for a, b in zip(other[peak:], other[peak + 1 :], strict=False))
    places = np.linspace(0, 1, 21)
    curves = [
        np.interp(places, np.linspace(0, 1, len(curve)), curve)
        for curve in (first, other)
    ]
    assert np.abs(curves[0] - curves[1]).max() < 0.2 * max(first)


@pytest.mark.parametrize(
    'schedule, epochs, fault',
    [
        (dict(POLY, end=15), 80, 'PolyLR ends after 15 of 80 epochs'),
        (dict(POLY, end=15), 5, 'PolyLR ends after 15 epochs, and the training after 5'),
        (dict(COSINE, T_max=12), 80, 'T_max=12 in 80 epochs, and the rate then climbs'),
        (dict(COSINE, T_max=12), 5, 'T_max=12 and is cut off after 5 epochs'),
        (dict(COSINE, begin=1, T_max=11), 20, 'T_max=11 in 19 epochs'),
        (dict(type='MultiStepLR', milestones=[8, 11]), 9, r'milestones=\[8, 11\] and lasts'),
        (dict(type='StepLR', step_size=9), 9, 'step_size=9 and lasts 9 epochs'),
        (dict(type='OneCycleLR', eta_max=1.0, total_steps=9), 8, 'total_steps=9 and is cut'),
        (dict(type='CosineRestartLR', periods=[2, 3], restart_weights=[1, 1]), 8, 'no value'),
        (dict(WARM, begin=6, end=7), 5, 'would begin after 6 of 5 epochs'),
        (dict(type='LinearLR', end=1), 5, 'lasts one epoch and changes once an epoch'),
        (dict(WARM, end=150, by_epoch=False), 10, 'ends after 150 iterations'),
    ],
)  # fmt: skip
def test_numbers_that_do_not_fit_are_refused(tmp_path, schedule, epochs, fault) -> None:
    """By the name of the schedule; with one key they are taken as they are written."""
    if not schedule.get('by_epoch', True):
        schedule = {k: v for k, v in schedule.items() if k != 'convert_to_iter_based'}
    with pytest.raises(ConfigError, match=fault) as error:
        build_runner(config([schedule], epochs), tmp_path, 1, 'train').train()
    assert f'param_scheduler does not fit train_cfg (max_epochs={epochs})' in str(
        error.value
    )
    assert 'schedule_as_written=True' in str(error.value)


def test_a_misfit_that_is_meant(tmp_path) -> None:
    given = [dict(COSINE, T_max=4)]
    found = rates(tmp_path, given, 8, schedule_as_written=True)
    assert found[24] == pytest.approx(1e-6) and found[-1] > 0.9e-3


@pytest.mark.parametrize(
    'given',
    [
        [dict(WARM, end=1), dict(COSINE, begin=1, T_max=11)],
        [dict(POLY, end=12)],
        [dict(WARM, end=2)],
        [dict(type='MultiStepLR', milestones=[8, 11])],
        [dict(type='ExponentialLR', gamma=0.9)],
        [dict(COSINE, end=6, T_max=6), dict(type='ConstantLR', factor=0.5, begin=6)],
        [dict(COSINE, begin=1)],
        dict(body=[dict(POLY, end=12)]),
    ],
)
def test_numbers_that_fit(given) -> None:
    refuse_misfits(given, Length(12, 6))


def test_shares_by_epoch_and_by_iteration() -> None:
    length = Length(12, 6)
    plain = dict(type='CosineAnnealingLR', begin=0.05, T_max=0.95)
    (found,) = counted([plain], length)
    assert (found['begin'], found['T_max']) == (1, 11), 'whole epochs, rounded up'
    (found,) = counted([dict(plain, convert_to_iter_based=True)], length)
    assert found['by_epoch'] is False and 'convert_to_iter_based' not in found
    assert (found['begin'], found['T_max']) == (4, 68)
    (found,) = counted([dict(WARM, begin=1, end=0.25)], length)
    assert (found['begin'], found['end']) == (6, 18)
    steps = dict(type='MultiStepLR', milestones=[0.5, 0.75])
    assert counted([steps], length)[0]['milestones'] == [6, 9]
    again = dict(type='CosineRestartLR', periods=[0.3, 0.7], by_epoch=False)
    assert counted([again], length)[0]['periods'] == [22, 50]
    assert plain == dict(type='CosineAnnealingLR', begin=0.05, T_max=0.95)


@pytest.mark.parametrize('epochs', [1, 2, 3])
def test_the_shortest_trainings(tmp_path, epochs) -> None:
    """One to three iterations: the rate begins where it should, and nothing fails."""
    found = rates(tmp_path, SHARES['warm'], epochs, 24)
    assert len(found) == epochs and found[0] == 1e-3


def test_a_warm_up_of_a_single_iteration_is_left_out(tmp_path) -> None:
    """mmengine's would keep the rate at a tenth for good."""
    found = rates(tmp_path, [dict(WARM, end=1)], 2, 24)
    assert found == [1e-3, 1e-3]
    assert 'LinearLR is left out: it lasts one iteration of the 2' in log(tmp_path)


def log(folder: Path) -> str:
    return '\n'.join(path.read_text() for path in folder.glob('*/*.log'))


def interrupted(folder: Path, schedules: Any, epochs: int, batch: int) -> None:
    Two.stop_after = epochs * (24 // batch) + 1
    with pytest.raises(KeyboardInterrupt):
        rates(folder, schedules, 12, batch)
    Two.stop_after = 0


@pytest.mark.parametrize('name', SHARES)
@pytest.mark.parametrize('before, after', [(4, 8), (8, 4), (4, 4)])
def test_resumed_from_the_epoch(tmp_path, name, before, after) -> None:
    """With half as many iterations an epoch, or twice: as a training of that from the start.

    Two workers halve the iterations of an epoch where the batch is that of one worker, as
    it was before the batch of a config became that of all workers.
    """
    whole = rates(tmp_path / 'whole', SHARES[name], 12, after)
    # mmengine tells loggers apart by folder name and second, and these take less than one.
    parts = tmp_path / f'parts_{name}_{before}_{after}'
    interrupted(parts, SHARES[name], 5, before)
    rest = rates(parts, SHARES[name], 12, after)
    assert rest == whole[5 * 24 // after :]
    assert ('the schedules go on from epoch 5' in log(parts)) == (before != after)


def test_table_of_rates(tmp_path) -> None:
    """What the optimiser really had, by part of the model; a plot beside it."""
    seen = rates(tmp_path, SHARES['warm'], 10)
    (path,) = tmp_path.glob('*/rates.csv')
    header, *rows = list(csv.reader(path.open()))
    assert header == ['epoch', 'iteration', 'body', 'head']
    assert [float(row[2]) for row in rows] == pytest.approx(seen, rel=1e-5)
    tenfold = [10 * rate for rate in seen]  # but for the lowest rate, 1e-6 for both
    assert [float(row[3]) for row in rows] == pytest.approx(tenfold, rel=1e-5, abs=1e-5)
    assert rows[13][:2] == ['2.1667', '13'] and len(rows) == 60
    assert path.with_suffix('.png').read_bytes().startswith(b'\x89PNG')


def test_table_of_a_resumed_training_is_the_whole_one(tmp_path) -> None:
    interrupted(tmp_path / 'parts', SHARES['warm'], 5, 4)
    rates(tmp_path / 'parts', SHARES['warm'])
    rates(tmp_path / 'whole', SHARES['warm'])
    tables = [path.read_text() for path in tmp_path.glob('*/*/rates.csv')]
    assert len(tables) >= 2 and len(set(tables)) == 1


def test_names_of_groups() -> None:
    model = nn.ModuleDict(dict(a=nn.Linear(2, 2), b=nn.Linear(2, 2)))
    a, b = model['a'], model['b']
    groups = [dict(params=[a.weight, a.bias, b.weight]), dict(params=[b.bias])]
    assert names_of_groups(model, groups) == ['a b.weight', 'b.bias']
    assert names_of_groups(model, [dict(params=list(model.parameters()))]) == ['all']


@pytest.mark.parametrize('epochs', [5, 80])
@pytest.mark.parametrize(
    'path',
    [
        p
        for folder in ('acr', 'deeplabv2', 'exvit', 'folder', 'mctformer', 'pretrain', 'psa', 'voc_animals')
        for p in sorted((CONFIGS / folder).glob('*.py'))
        if 'pipeline' not in p.stem
        and not re.search(r'^pipeline = ', p.read_text(), re.MULTILINE)
    ],
    ids=lambda p: f'{p.parent.name}/{p.stem}',
)  # fmt: skip
def test_every_config_with_another_length(path, epochs) -> None:
    """``--cfg-options train_cfg.max_epochs=80`` or 5 fits the schedules of each config."""
    cfg = load_config(path, {'train_cfg.max_epochs': epochs})
    if cfg.get('param_scheduler'):
        length = Length(epochs, 40)
        refuse_misfits(counted(cfg.to_dict()['param_scheduler'], length), length)


def test_a_float_that_is_no_share_and_a_variable(tmp_path) -> None:
    path = CONFIGS / 'acr/voc.py'
    with pytest.raises(
        ConfigError, match=r'end=15.0 is a float, so a share .* end=15 '
    ):
        load_config(path, {'param_scheduler.0.end': 15.0})
    with pytest.raises(
        ConfigError, match=r'max_epochs: .* use train_cfg.max_epochs=80'
    ):
        load_config(path, {'max_epochs': 80})
