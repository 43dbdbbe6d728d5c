"""A folder of a trained model is data: nothing that lies in it is run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from wsss_plugins.engine.model_file import (
    modules_of,
    read_model_config,
    save_model_config,
)
from wsss_plugins.errors import CheckpointError
from wsss_plugins.explain import load_model
from wsss_plugins.registry import MODELS, registered

MODEL = dict(
    type='wsss_plugins.classifiers.WSSSClassifier',
    backbone=dict(type='wsss_plugins.backbones.TimmViT', depth=2, pretrained='x.pth'),
    head=dict(type='TokenHead', num_classes=3, sizes=(1, 2.5), name=None),
)


class Mine(nn.Module):
    """A network that is imported and not registered."""


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_model_config(folder)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    save_model_config(MODEL, tmp_path, ['cat', 'dog'])
    read = read_model_config(tmp_path)
    assert read['classes'] == ['cat', 'dog']
    assert read['model']['type'] is MODELS.get('WSSSClassifier')
    assert read['model']['backbone']['pretrained'] is None
    assert read['model']['head']['sizes'] == [1, 2.5]
    found = {'classifiers.classifier', 'classifiers.head', 'backbones.timm_vit'}
    assert modules_of([tmp_path]) == tuple(sorted(f'wsss_plugins.{f}' for f in found))


@pytest.mark.parametrize(
    'text',
    [
        "model = dict(type='WSSSClassifier', a=-1.5, b=[(1, None), {'c': True}])",
        "classes = ['cat']\nmodel = {'type': 'WSSSClassifier', 'a': -1.5}",
    ],
)
def test_a_former_config_is_read_as_text(tmp_path: Path, text: str) -> None:
    (tmp_path / 'model.py').write_text(text)
    assert read_model_config(tmp_path)['model']['a'] == -1.5


PLANTED = [
    "import os; os.system('touch {ran}')\nmodel = dict(type='WSSSClassifier')",
    "model = dict(type=__import__('os').system('touch {ran}'))",
    "model = dict(type='WSSSClassifier', a=[open('{ran}', 'w') for _ in (1,)])",
    "model = dict(**{{'type': print(open('{ran}', 'w'))}})",
    "def f(x=open('{ran}', 'w')): ...\nmodel = dict(type='WSSSClassifier')",
    'model = f\'{{open("{ran}", "w")}}\'',
]


@pytest.mark.parametrize('text', PLANTED)
def test_planted_code_in_a_former_config_does_not_run(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / 'model.py').write_text(text.format(ran=tmp_path / 'ran'))
    assert 'never run' in refusal(tmp_path)
    (tmp_path / 'weights.safetensors').write_bytes(b'')
    with pytest.raises(CheckpointError):
        load_model(tmp_path)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize(
    'kind', ['os.system', 'subprocess.run', 'builtins.eval', 'planted.Net', 3, None]
)
def test_types_that_are_not_registered_are_refused(
    tmp_path: Path, monkeypatch, kind: object
) -> None:
    (tmp_path / 'planted.py').write_text(f"open('{tmp_path / 'ran'}', 'w')\nNet = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    save_model_config(dict(type='WSSSClassifier', head=dict(type=kind)), tmp_path)
    assert f'names the type {kind!r}' in refusal(tmp_path)
    assert not (tmp_path / 'ran').exists() and 'planted' not in sys.modules


@pytest.mark.parametrize('kind', ['Runner', 'WSSSRunner', 'VOC12', 'EpochSeedHook'])
def test_types_that_are_no_part_of_a_model_are_refused(
    tmp_path: Path, kind: str
) -> None:
    save_model_config(dict(type='WSSSClassifier', head=dict(type=kind)), tmp_path)
    assert f'names the type {kind!r}' in refusal(tmp_path)


def test_no_package_is_imported_for_a_scope(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / 'planted').mkdir()
    (tmp_path / 'planted/__init__.py').touch()
    code = f"open('{tmp_path / 'ran'}', 'w')"
    (tmp_path / 'planted/registry.py').write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    for model in (
        MODEL | dict(_scope_='planted'),
        MODEL | dict(head=dict(type='TokenHead', num_classes=3, _scope_='planted')),
    ):
        save_model_config(model, tmp_path)
        (tmp_path / 'weights.safetensors').write_bytes(b'')
        assert "has the key '_scope_'" in refusal(tmp_path)
        with pytest.raises(CheckpointError):
            load_model(tmp_path)
    assert not (tmp_path / 'ran').exists()


def test_a_network_that_was_imported_is_known(tmp_path: Path) -> None:
    save_model_config(dict(type=Mine), tmp_path)
    assert read_model_config(tmp_path)['model']['type'] is Mine
    assert modules_of([tmp_path]) == (__name__,)


@pytest.mark.parametrize(
    'text', ['[]', '{}', '{"model": 3}', '{"model": {}, "classes": [1]}']
)
def test_what_is_no_config_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / 'model.json').write_text(text)
    assert 'is no config of a trained model' in refusal(tmp_path)


def test_registered_names() -> None:
    assert registered('wsss_plugins.seeds.CAM') is registered('CAM')
    assert registered('wsss_plugins.refiners.CAM') is None
    assert registered('torch.load') is None and registered('os.system') is None
    assert registered('BN') is torch.nn.BatchNorm2d
