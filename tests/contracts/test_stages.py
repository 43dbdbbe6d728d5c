"""What every stage of STAGES must keep to; see also tests/system/test_tiny_pipeline.py."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

import wsss_plugins.stages  # noqa: F401  (registers)
from wsss_plugins.config import plain
from wsss_plugins.engine import Stage
from wsss_plugins.errors import ConfigError
from wsss_plugins.provenance.images import ImageRegister
from wsss_plugins.provenance.run import declared_card
from wsss_plugins.refiners import Refiner
from wsss_plugins.registry import STAGES, build_as, find_type
from wsss_plugins.seeds import SeedHead
from wsss_plugins.structures.card import Source, SupervisionCard
from wsss_plugins.structures.card_text import card_from_json, card_to_json

VALUES = dict(
    config=dict(model=dict(type='M'), train_dataloader=dict(dataset=dict())),
    head=dict(type='CAM'),
    network=dict(type='TimmMaps', name='test_efficientnet'),
    methods=dict(cam=dict(type='CAM')),
    dataset=dict(type='VOC12', data_root='data', split='train'),
    refiners=[dict(type='ConstantBackground')],
    argument='floor',
    values=['zero', 'minimum'],
    path=str(Path(__file__).parents[1] / 'golden'),
)
"""Arguments that a stage may ask for; any other one names an earlier stage."""


@pytest.fixture(params=sorted(STAGES.module_dict))
def config(request) -> dict:
    """A config of the stage with what it must be given."""
    parameters = inspect.signature(find_type(request.param, STAGES)).parameters.values()
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD
    ]
    assert needed[0] == 'name'
    given = {key: VALUES.get(key, f'the_{key}') for key in needed[1:]}
    if request.param == 'EvaluateInstanceStage':
        given['dataset'] = dict(VALUES['dataset'], type='COCO14')
    if request.param == 'ReportStage':
        given |= dict(title='Mine', seeds=['the_seeds'])  # at least one
    return dict(type=request.param, name='mine', **given)


def test_reads_the_stages_it_is_told_to(config) -> None:
    stage = build_as(STAGES, config, Stage)
    assert stage.name == 'mine' and stage.seed == 0
    words = [w for v in config.values() for w in (v if isinstance(v, list) else [v])]
    told = {w for w in words if isinstance(w, str) and w.startswith('the_')}
    assert told == set(stage.inputs)
    assert len(set(stage.inputs)) == len(stage.inputs)


def test_leaves_its_config_alone(config) -> None:
    before = repr(config)
    build_as(STAGES, config, Stage)
    assert repr(config) == before


def test_name_must_be_a_word(config) -> None:
    with pytest.raises(ConfigError) as error:
        build_as(STAGES, dict(config, name='../mine'), Stage)
    assert str(error.value) == (
        "a stage's name must be letters, digits and _, not '../mine'"
    )


def test_says_what_it_is_and_runs_as_the_contract_says(config) -> None:
    cls = find_type(config['type'], STAGES)
    assert (cls.__doc__ or '').splitlines()[0].endswith(('.', ':'))
    expected = inspect.signature(Stage.run)
    assert inspect.signature(cls.run) == expected
    assert 'run' in cls.__dict__ or any(
        'run' in base.__dict__ for base in cls.__mro__[1:-2]
    )


def test_says_what_it_adds_to_a_supervision_card(config) -> None:
    """Its own part only, in a form that is written and read; None if it measures nothing."""
    stage = build_as(STAGES, config, Stage)
    measured = stage.measured()
    assert stage.measured() == measured, 'asked twice'
    if measured is None:
        assert config['type'] == 'ReportStage'
        return
    assert json.loads(json.dumps(plain(stage.provenance())))
    assert {t.stage for t in measured.thresholds} <= {'mine'}
    assert all(t.source is Source.MASKS for t in measured.thresholds if t.of)
    assert {t.of for t in measured.thresholds} <= {'', *stage.inputs}
    assert {network.stage for network in measured.networks} <= {'mine'}
    for part in stage.parts():
        assert isinstance(part, SeedHead | Refiner)
    card = declared_card(stage, ImageRegister())
    content = json.loads(json.dumps(card_to_json(card)))
    assert card_from_json(content) == card
    assert card.split is None and card.seeds == (), 'found out, not said'
    joined = card.after({name: SupervisionCard(flip=True) for name in stage.inputs})
    assert joined.flip == (
        bool(stage.inputs) or None if card.flip is None else card.flip
    )
