"""A trained model is never asked about classes that it did not learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import save_file
from trees import make_folder

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.engine.class_names import (
    classes_metadata,
    classes_of_weights,
    refuse_other_names,
    trained_classes,
)
from wsss_plugins.engine.model_file import save_model_config
from wsss_plugins.engine.stage import Stage
from wsss_plugins.errors import DataError
from wsss_plugins.registry import MODELS, STAGES, build_as
from wsss_plugins.stages import load_trained
from wsss_plugins.stages.train import train_model

LEARNT = ('car', 'dog', 'person')
MODEL = dict(
    type='WSSSClassifier',
    backbone=dict(type='TimmViT', img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2),
    head=dict(type='TokenHead', num_classes=3),
)  # fmt: skip
HEAD = dict(type='CAM')


def photos(root: Path, names: tuple[str, ...] = LEARNT) -> dict[str, Any]:
    """Config of three photos that show one class each."""
    rows = [(f'{i}.png', name) for i, name in enumerate(names)]
    make_folder(root, rows)
    return dict(type='FolderWSSS', data_root=str(root), split='train')


def config(dataset: dict[str, Any]) -> Config:
    pipeline = [dict(type='LoadCrop', size=16), dict(type='PackClassInputs')]
    sampler = dict(type='DefaultSampler', shuffle=False)
    return Config(
        dict(
            model=MODEL,
            test_dataloader=dict(
                batch_size=1,
                num_workers=0,
                sampler=sampler,
                dataset=dict(dataset, test_mode=True, pipeline=pipeline),
            ),
            test_evaluator=dict(type='MultiLabelAP'),
            test_cfg=dict(),
        )
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classifier of cars, dogs and persons, as a training leaves it."""
    folder = tmp_path / 'trained'
    folder.mkdir()
    torch.manual_seed(0)
    weights = build_as(MODELS, MODEL, WSSSClassifier).state_dict()
    save_file(weights, folder / 'weights.safetensors', classes_metadata(LEARNT))
    save_model_config(MODEL, folder, LEARNT)
    return folder


def test_a_training_names_its_classes_in_the_weights(tmp_path) -> None:
    cfg = config(photos(tmp_path / 'data'))
    cfg.train_dataloader = cfg.pop('test_dataloader')
    for key in ('test_evaluator', 'test_cfg'):
        cfg.pop(key)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    train_model(cfg, tmp_path / 'work', 0, 'train')
    weights = tmp_path / 'work/weights.safetensors'
    (tmp_path / 'work/model.json').rename(tmp_path / 'kept.json')
    assert classes_of_weights(weights) == LEARNT
    (tmp_path / 'kept.json').rename(tmp_path / 'work/model.json')
    assert trained_classes(load_trained(tmp_path / 'work', WSSSClassifier)) == LEARNT
    assert classes_of_weights(tmp_path / 'work/resume.pth') == LEARNT


def test_names_beside_weights_of_an_earlier_version(folder) -> None:
    weights = build_as(MODELS, MODEL, WSSSClassifier).state_dict()
    save_file(weights, folder / 'weights.safetensors')
    assert classes_of_weights(folder / 'weights.safetensors') == LEARNT
    assert classes_of_weights(folder / 'other.safetensors') == ()


STAGE_CONFIGS = dict(
    seeds=dict(type='SeedStage', head=HEAD),
    sweep=dict(
        type='SeedSweepStage', head=HEAD, argument='floor', values=['zero', 'minimum']
    ),
    perturbation=dict(type='PerturbationTestStage', methods=dict(cam=HEAD), steps=2),
    segmentation=dict(
        type='SegmentationTestStage', methods=dict(cam=HEAD), explained='target'
    ),
)


@pytest.mark.parametrize('name', STAGE_CONFIGS)
def test_stages_refuse_other_names(folder, tmp_path, name) -> None:
    dataset = photos(tmp_path / 'data', ('aa', 'bb', 'cc'))
    cfg = dict(STAGE_CONFIGS[name], name=name, model='m', dataset=dataset)
    stage = build_as(STAGES, cfg, Stage)
    with pytest.raises(DataError) as caught:
        stage.run(tmp_path / name, {'m': folder})
    said = str(caught.value)
    assert "class 1 is 'car' for the model and 'aa' in the data" in said
    assert str(tmp_path / 'data') in said


def test_seeds_of_the_same_names_are_made(folder, tmp_path) -> None:
    dataset = photos(tmp_path / 'data')
    stage = build_as(
        STAGES,
        dict(STAGE_CONFIGS['seeds'], name='s', model='m', dataset=dataset),
        Stage,
    )
    assert stage.run(tmp_path / 's', {'m': folder})['images'] == 3
    # A model without names, as earlier versions and other projects have them.
    save_model_config(MODEL, folder)
    dataset = photos(tmp_path / 'other', ('aa', 'bb', 'cc'))
    stage = build_as(
        STAGES,
        dict(STAGE_CONFIGS['seeds'], name='s', model='m', dataset=dataset),
        Stage,
    )
    assert stage.run(tmp_path / 'more', {'m': folder})['images'] == 3


def test_the_test_tool_refuses_other_names(folder, tmp_path, refused) -> None:
    dataset = photos(tmp_path / 'data', ('aa', 'bb', 'cc'))
    path = tmp_path / 'test.py'
    path.write_text(config(dataset).pretty_text)
    said = refused('test.py', path, folder / 'weights.safetensors')
    assert "class 1 is 'car' for the model and 'aa' in the data" in said
    assert 'weights.safetensors' in said


@pytest.mark.parametrize(
    ('there', 'message'),
    [
        (('dog', 'car', 'person'), 'class 1 .* in the order of the model'),
        (
            ('car', 'dog'),
            "3 classes and data has 2, and class 3 is 'person' .* no class",
        ),
        (
            ('car', 'dog', 'person', 'zebra'),
            "class 4 is no class .* 'zebra' in the data",
        ),
    ],
)
def test_the_first_difference_is_named(there, message) -> None:
    with pytest.raises(DataError, match=message):
        refuse_other_names(LEARNT, there, 'model', 'data')
    refuse_other_names((), there, 'model', 'data')
    refuse_other_names(LEARNT, LEARNT, 'model', 'data')
    assert json.loads(classes_metadata(LEARNT)['classes']) == list(LEARNT)
