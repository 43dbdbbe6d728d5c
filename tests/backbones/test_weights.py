"""Reading checkpoints: wrappers, kinds of files, and what is refused."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from wsss_plugins.backbones import load_weights, read_checkpoint, read_weights
from wsss_plugins.errors import CheckpointError

STATE = {'a': torch.arange(3.0), 'b': torch.ones(2, 2)}


@pytest.mark.parametrize(
    'wrapper', [None, 'state_dict', 'model', 'model_state', 'teacher']
)
def test_wrappers_are_taken_off(tmp_path, wrapper) -> None:
    content = {f'module.{k}': v for k, v in STATE.items()} | {'epoch': 3}
    torch.save(
        {wrapper: content, 'meta': {}} if wrapper else content, tmp_path / 'x.pth'
    )
    weights = read_weights(tmp_path / 'x.pth')
    assert set(weights) == {'a', 'b'}
    assert torch.equal(weights['a'], STATE['a'])


def test_kinds_of_files_hold_the_same(tmp_path) -> None:
    torch.save(STATE, tmp_path / 'x.pth')
    save_file(STATE, tmp_path / 'x.safetensors')
    np.savez(tmp_path / 'x.npz', **{k: v.numpy() for k, v in STATE.items()})
    for suffix in ('pth', 'safetensors', 'npz'):
        weights = read_weights(tmp_path / f'x.{suffix}')
        assert all(torch.equal(weights[k], STATE[k]) for k in STATE)


@pytest.mark.parametrize('name', ['x.pth', 'x.safetensors', 'x.npz'])
def test_damaged_files_are_one_line(tmp_path, name) -> None:
    path = tmp_path / name
    path.write_bytes(b'PK\x03\x04 no archive')
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    assert str(error.value).startswith(f'checkpoint {path} ')
    assert '\n' not in str(error.value)


def test_load_report() -> None:
    model = nn.ModuleDict(dict(one=nn.Linear(2, 3), two=nn.Linear(3, 1)))
    weights = {
        'one.weight': torch.ones(3, 2),
        'one.bias': torch.ones(4),
        'three.weight': torch.ones(1),
    }
    report = load_weights(model, weights, 'x.pth', strict=False)
    assert report.loaded == ('one.weight',)
    assert report.missing == ('two.weight', 'two.bias')
    assert report.unexpected == ('three.weight',)
    assert report.other_shape == ('one.bias',)
    assert (model['one'].weight == 1).all()
    assert str(report).startswith(
        '1 loaded; 2 missing (two.weight, two.bias); 1 unexpected (three.weight); 1 '
    )
    with pytest.raises(CheckpointError, match=r'x\.pth is of another model than Modul'):
        load_weights(model, weights, 'x.pth', strict=True)


def plain() -> dict[str, torch.Tensor]:
    return {'a.weight': torch.arange(6.0).view(2, 3), 'b': torch.ones(2)}


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in plain().items()}


@pytest.mark.parametrize(
    'content',
    [
        dict(model_state_dict=plain(), epoch=3),
        dict(net=plain(), acc=0.4),
        dict(
            state_dict_ema=plain(), epoch=1, optimizer=dict(state={}, lr=torch.ones(1))
        ),
        dict(checkpoint=dict(weights_of_mine=plain()), step=torch.tensor(4)),
        pytest.param(
            dict(
                model=prefixed('module.'), args=argparse.Namespace(lr=0.1, name='deit')
            ),
            marks=pytest.mark.skipif(
                not hasattr(torch.serialization, 'safe_globals'),
                reason='torch 2.4 reads no options beside weights',
            ),
        ),
        prefixed('_orig_mod.'),
        prefixed('module._orig_mod.'),
        dict(
            state_dict={**prefixed('model.'), 'criterion.pos_weight': torch.ones(1)},
            callbacks={},
        ),
        dict(state_dict=plain(), model_ema=prefixed('wrong.')),
    ],
)
def test_wrappers_of_other_projects(tmp_path, content) -> None:
    torch.save(content, tmp_path / 'wrapped.pth')
    read = read_weights(tmp_path / 'wrapped.pth')
    assert read.keys() == plain().keys()
    assert all(torch.equal(read[name], value) for name, value in plain().items())


def test_a_file_without_weights_lists_its_keys(tmp_path) -> None:
    torch.save(dict(epoch=3, best='a'), tmp_path / 'none.pth')
    with pytest.raises(CheckpointError, match=r'keys are: best, epoch\. Export') as got:
        read_weights(tmp_path / 'none.pth')
    assert '\n' not in str(got.value)
