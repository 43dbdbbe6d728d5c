"""Stages that serve every row of a matrix, such as the training of an AffinityNet."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment.matrix import Choice, Matrix, Plan, Table, write_tables
from wsss_plugins.stages import ConfidentLabelStage, FeatureStage, TrainStage

BACKGROUND = dict(type='ConstantBackground')
POWER = dict(type='PowerBackground', alpha=16)
WALK = dict(type='RandomWalk', affinity='affinity')
IMAGES = dict(type='VOC12', data_root='data', split='train')
STAGES = dict(
    confident=dict(
        type=ConfidentLabelStage,
        seeds='vit__cam',
        dataset=IMAGES,
        refiners=[dict(type='PowerBackground')],
    ),
    affinity=dict(type=TrainStage, config='affinity.py', label_maps='confident'),
)


def matrix(**changes: Any) -> Matrix:
    given = dict(
        classifiers=dict(vit='vit.py', cnn='cnn.py'),
        heads=dict(cam=dict(type='CAM'), rollout=dict(type='AttentionRollout')),
        refiners=dict(
            none=[BACKGROUND], walk=dict(refiners=[POWER, WALK], threshold=None)
        ),
        images=IMAGES,
        masks=dict(IMAGES, label_maps='SegmentationClass', test_mode=True),
        refine=dict(threshold='otsu', workers=1),
        stages=STAGES,
    )
    return Matrix(**{**given, **changes})


def named(plan: Plan, *without: str) -> dict[str, dict[str, Any]]:
    return {config['name']: config for config in plan.configs(without)}


def test_they_run_once_after_what_they_read_and_before_their_readers() -> None:
    plan = Plan(matrix())
    found = named(plan)
    names = list(found)
    order = ['vit', 'vit__cam', 'confident', 'affinity', 'vit__cam__walk']
    assert [name for name in names if name in order] == order
    assert names.count('affinity') == 1 and len(names) == 2 + 2 + 4 * 6
    assert found['confident']['seeds'] == 'vit__cam'
    assert plan.shared == dict(walk=('vit', 'vit__cam', 'confident', 'affinity'))
    cell = plan.cells[Choice('cnn', 'rollout'), 'walk']
    assert cell.stages[:4] == plan.shared['walk']
    assert cell.stages[-2:] == ('cnn__rollout__walk', 'cnn__rollout__walk__score')


def test_a_column_may_have_its_own_arguments() -> None:
    found = named(Plan(matrix()))
    walk, none = found['cnn__cam__walk'], found['cnn__cam__none']
    assert walk['threshold'] is None and none['threshold'] == 'otsu'
    assert walk['workers'] == none['workers'] == 1
    assert walk['refiners'] == [POWER, WALK]


def test_a_part_of_the_grid_keeps_the_reference_and_its_name() -> None:
    part = matrix().select(['cnn'], ['rollout'])
    names = list(named(Plan(part)))
    order = ['vit', 'vit__cam', 'confident', 'affinity', 'cnn__rollout__walk']
    assert [name for name in names if name in order] == order
    assert 'vit__cam__none' not in names and len(names) == 5 + 6
    plan = Plan(part)
    assert plan.choices == [Choice('cnn', 'rollout')]
    without = Plan(matrix().select(['cnn'], ['rollout'], ['none']))
    assert next(iter(named(without))) == 'cnn' and without.shared == {}, (
        'nothing reads it'
    )


def test_equal_rows_have_one_name_which_the_stages_use() -> None:
    twins = matrix(classifiers=dict(first='vit.py', vit='vit.py'))
    found = named(Plan(twins))
    assert found['confident']['seeds'] in found


def test_without_the_reference_no_walk() -> None:
    plan = Plan(matrix())
    left = named(plan, 'vit__cam')
    assert 'affinity' not in left and 'cnn__cam__walk' not in left
    assert {'cnn__cam__none', 'cnn', 'vit__rollout__none'} <= set(left)
    found = Table(plan, {0: {}}, {'vit__cam': 'it cannot'}, {})
    assert found.entries[Choice('cnn', 'cam'), 'walk'].refused == 'it cannot'
    assert found.entries[Choice('cnn', 'cam'), 'none'].refused == ''


def test_they_may_read_kept_features_and_a_classifier() -> None:
    features = dict(network=dict(type='TimmMaps', name='resnet18'), dataset=IMAGES)
    stages = dict(
        affinity=dict(STAGES['affinity'], backbone='cnn', features='features'),
        confident=STAGES['confident'],
    )
    plan = Plan(matrix(features=features, stages=stages))
    shared = ('features', 'cnn', 'vit', 'vit__cam', 'confident', 'affinity')
    assert sorted(plan.shared['walk']) == sorted(shared)
    names = list(named(plan))
    assert names[0] == 'features' and named(plan)['features']['type'] is FeatureStage
    assert names.index('confident') < names.index('affinity')
    assert plan.networks == dict(vit='vit', cnn='cnn'), 'not the features'


def test_the_text_says_what_serves_all_rows(tmp_path) -> None:
    plan = Plan(matrix())
    text = write_tables(Table(plan, {0: {}}, {}, {}), tmp_path / 'a')[0].read_text()
    way = "One 'affinity', made by way of vit, vit__cam, confident, serves all rows."
    assert f"'walk': PowerBackground, RandomWalk. {way}" in text
    assert "The background of 'walk' is that of its refiners." in text


def test_names_of_data_sets_are_replaced() -> None:
    content = dict(
        datasets=dict(few=dict(IMAGES, indices=3)),
        matrix=dict(
            classifiers=dict(vit='vit.py'),
            heads=dict(cam=dict(type='CAM')),
            refiners=dict(none=[BACKGROUND]),
            images='few',
            masks=IMAGES,
            stages=dict(confident=dict(type='ConfidentLabelStage', dataset='few')),
        ),
    )
    found = Matrix.of(Config(content))
    assert (found.stages or {})['confident']['dataset'] == dict(IMAGES, indices=3)
    content['matrix']['stages']['confident']['dataset'] = 'fwe'
    with pytest.raises(ConfigError, match="'confident': dataset='fwe' is none of"):
        Matrix.of(Config(content))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(stages=[1]), 'matrix.stages must be a dict from names'),
        (dict(stages=dict(a__b=dict(type='x'))), "matrix.stages: a name .* not 'a__b'"),
        (dict(stages=dict(cnn=dict(type='x'))), "'cnn' is a stage already"),
        (dict(stages=dict(features=dict(type='x'))), "'features' is a stage already"),
        (dict(stages=dict(a='affinity.py')), "'a' must be a dict with 'type'"),
        (dict(refiners=dict(w=dict(threshold=1))), "'w' must be a list of refiners"),
        (dict(refiners=dict(w=dict(refiners=[POWER], seeds='x'))), "may not have 'seeds'"),
    ],
)  # fmt: skip
def test_mistakes(changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        matrix(**changes)


def test_a_circle_is_refused() -> None:
    one = dict(type=TrainStage, config='a.py', label_maps='other')
    other = dict(type=ConfidentLabelStage, seeds='affinity', dataset=IMAGES)
    with pytest.raises(
        ConfigError, match=r"'affinity' reads itself through aff.*, other"
    ):
        Plan(matrix(stages=dict(affinity=one, other=other)))
