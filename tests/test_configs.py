"""Every config: it loads, dumps and reloads, builds, and trains on no ground truth."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope

from wsss_plugins.config import check_config, load_config, plain, typed_nodes
from wsss_plugins.datasets import COCO14, VOC12
from wsss_plugins.engine import Stage
from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment.matrix import Matrix, Plan
from wsss_plugins.experiment.names import named_stages
from wsss_plugins.registry import DATASETS, MODELS, SCOPE, STAGES, build_as, find_type
from wsss_plugins.stages import ConfidentLabelStage, RefineStage, SeedStage

CONFIGS = Path(__file__).parents[1] / 'configs'
FILES = sorted(
    path.relative_to(CONFIGS).as_posix()
    for path in CONFIGS.rglob('*.py')
    if '_base_' not in path.parts
)
REFERENCE = 'voc_animals/supervised_pipeline.py'
"""The fully supervised reference, which says so in its name and on its card."""

GROUND_TRUTH = {*VOC12.ground_truth_folders, *COCO14.ground_truth_folders}


@pytest.fixture(params=FILES)
def cfg(request) -> Config:
    """A config; of a matrix, the pipeline that it comes down to."""
    cfg = load_config(CONFIGS / request.param)
    return Plan(Matrix.of(cfg)).config(cfg.filename) if 'matrix' in cfg else cfg


def training_configs(cfg: Config) -> list[dict[str, Any]]:
    """The config itself, or the training configs that its stages name."""
    if 'pipeline' not in cfg:
        return [cfg.to_dict()]
    return [s['config'] for s in named_stages(cfg) if s.get('config') is not None]


def ground_truth_in_training(cfg: dict[str, Any]) -> list[str]:
    """Folders of ground-truth masks that the training data of a config name."""
    loader = cfg.get('train_dataloader') or {}
    words = [str(v) for node in typed_nodes(loader) for v in node.values()]
    words += [str(node.get('labels')) for node in typed_nodes(loader)]
    named = [word for word in words if GROUND_TRUTH & set(Path(word).parts)]
    return named + [
        word
        for node in typed_nodes(loader)
        for word in ('test_mode', 'allow_ground_truth')
        if node.get(word)
    ]


def test_there_are_configs() -> None:
    assert {'acr/synthetic.py', 'acr/synthetic_pipeline.py'} <= set(FILES)


@pytest.mark.parametrize('path', sorted(CONFIGS.rglob('*.py')), ids=lambda p: p.stem)
def test_file_names_are_identifiers(path) -> None:
    assert all(
        part.isidentifier() for part in path.relative_to(CONFIGS).with_suffix('').parts
    )
    assert path.read_text().startswith('"""'), 'says what it is'


@pytest.mark.parametrize('path', sorted(CONFIGS.rglob('*.py')), ids=lambda p: p.stem)
def test_a_helper_is_made_in_the_file_that_uses_it(path) -> None:
    """``_crop`` of a base is no part of the base's lists any more: they were copied."""
    made, used = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.alias):
            made.add(node.asname or node.name)
        elif isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
    assert {name for name in used - made if name.startswith('_')} == set()


def test_loaded_again_it_is_fresh(cfg) -> None:
    """What is edited in a config reaches no other one, by no shared base."""
    first, second = (load_config(cfg.filename) for _ in range(2))
    before = plain(second.to_dict())
    for node in list(typed_nodes(first._cfg_dict)):
        node['edited'] = True
    for key in list(first):
        first[key] = None
    assert plain(second.to_dict()) == before
    assert plain(load_config(cfg.filename).to_dict()) == before


def test_types_and_arguments_are_right(cfg) -> None:
    check_config(cfg.to_dict())


def test_dumped_and_reloaded_it_is_the_same(cfg, tmp_path, monkeypatch) -> None:
    cfg = load_config(cfg.filename)
    if not cfg.filename.endswith('pipeline.py') or 'voc' in cfg.filename:
        # yapf lays the text out, which takes longer than all the rest.
        monkeypatch.setattr(
            'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, True)
        )
    path = tmp_path / 'dumped.py'
    content = plain(cfg.to_dict())
    Config(content).dump(str(path))
    assert plain(Config.fromfile(str(path), lazy_import=False).to_dict()) == content
    cfg.dump(str(path))
    again = plain(load_config(path).to_dict())
    keys = [key for key in content if key in again]
    assert {'pipeline', 'model', 'matrix'} & set(keys)
    assert {key: again[key] for key in keys} == {key: content[key] for key in keys}


def test_models_build(cfg) -> None:
    init_default_scope(SCOPE)
    for training in training_configs(cfg):
        _without_downloads(training['model'])
        said = json.dumps(plain(training['model']), sort_keys=True, default=str)
        if said not in PARAMETERS:
            PARAMETERS[said] = _parameters(training['model'])
        assert PARAMETERS[said] > 1000


PARAMETERS: dict[str, int] = {}
"""The number of parameters of every model that was built, by its config."""


def _parameters(model: dict[str, Any]) -> int:
    """Builds without memory for the weights, unless their values matter to the model."""
    try:
        with torch.device('meta'):
            built = build_as(MODELS, model, BaseModel)
    except ConfigError:  # a value of a meta tensor was read
        built = build_as(MODELS, model, BaseModel)
    return sum(p.numel() for p in built.parameters())


def _without_downloads(model: dict[str, Any]) -> None:
    """Builds what a config describes where its pretrained weights are not."""
    for node in typed_nodes(model):
        if 'num_classes' in node and node['num_classes'] is None:
            node['num_classes'] = 3  # training takes it from its data set
    backbone = model['backbone']
    for part in (backbone, backbone.get('net', {})):
        part.pop('pretrained', None)
    for part in (model, backbone):
        if part.get('init_cfg'):
            part['init_cfg'] = None


def test_stages_build_in_order(cfg) -> None:
    """What a stage reads was made by an earlier one; no data is needed for that."""
    if 'pipeline' not in cfg:
        pytest.skip('trains one model')
    names: list[str] = []
    for config in named_stages(cfg):
        stage = build_as(STAGES, config, Stage)
        assert set(stage.inputs) <= set(names)
        names.append(stage.name)
    assert len(names) == len(set(names)) > 1


def test_training_names_no_ground_truth(cfg) -> None:
    for config in training_configs(cfg):
        wrong = ground_truth_in_training(config)
        if wrong and str(cfg.filename).endswith(REFERENCE):
            assert wrong == ['SegmentationClass', 'allow_ground_truth']
        else:
            assert wrong == []
    for stage in named_stages(cfg) if 'pipeline' in cfg else ():
        kind = find_type(stage['type'], STAGES)
        if issubclass(kind, SeedStage | RefineStage | ConfidentLabelStage):
            maps = str(stage['dataset'].get('label_maps'))
            assert GROUND_TRUTH.isdisjoint(maps.split('/'))


def test_the_law_would_be_noticed() -> None:
    """The check itself, on configs that break the law."""
    cfg = load_config(CONFIGS / 'deeplabv2/synthetic.py').to_dict()
    assert ground_truth_in_training(cfg) == []
    data = cfg['train_dataloader']['dataset']
    assert find_type(data['type'], DATASETS) is VOC12
    data['label_maps'] = 'data/VOC2012/SegmentationClass'
    assert ground_truth_in_training(cfg) == ['data/VOC2012/SegmentationClass']
    data.update(label_maps='pseudo', allow_ground_truth=True)
    assert ground_truth_in_training(cfg) == ['allow_ground_truth']
