"""What a matrix comes down to, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from trees import make_voc

from wsss_plugins.config import check_config, load_config
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.experiment.matrix import (
    BEST,
    Choice,
    Matrix,
    MatrixRun,
    Plan,
    write_tables,
)

ROOT = Path(__file__).parents[2]
BACKGROUND = dict(type='ConstantBackground')
VIT = dict(
    type='TimmViT', img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2
)
EX_VIT = dict(VIT, type='ExViT', fuse_blocks=1, patch='fused')
RESNET = dict(type='TimmCNN', name='resnet18', output_stride=8)


def classifier(root: Path, backbone: dict[str, Any], **head: Any) -> dict[str, Any]:
    data = dict(type='VOC12', data_root=str(root), split='train')
    return dict(
        config=dict(
            model=dict(
                type='WSSSClassifier',
                backbone=backbone,
                head=dict(type='TokenHead', num_classes=20, **head),
            ),
            train_dataloader=dict(
                batch_size=2, sampler=dict(type='DefaultSampler'), dataset=data
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        )
    )


def content(root: Path = Path('data'), **changes: Any) -> dict[str, Any]:
    images = dict(type='VOC12', data_root=str(root), split='train')
    given = dict(
        classifiers=dict(vit=classifier(root, VIT)),
        heads=dict(cam=dict(type='CAM'), rollout=dict(type='AttentionRollout')),
        refiners=dict(none=[BACKGROUND], pamr=[BACKGROUND, dict(type='PAMR')]),
        images=images,
        masks=dict(images, label_maps='SegmentationClass', test_mode=True),
        seeds=[0, 1, 2],
        refine=dict(threshold='otsu'),
    )
    return {**given, **changes}


def plan(**changes: Any) -> Plan:
    return Plan(Matrix(**content(**changes)))


@pytest.fixture
def root(tmp_path) -> Path:
    return make_voc(tmp_path / 'voc', dict(a=['cat'], b=['dog', 'cat']))


# What is run


def test_every_stage_once_and_after_what_it_reads() -> None:
    found = plan()
    names = [config['name'] for config in found.configs()]
    assert names == [
        'vit',
        *(
            f'vit__{head}{rest}'
            for head in ('cam', 'rollout')
            for rest in (
                '', f'__{BEST}', '__none', '__none__score', '__pamr', '__pamr__score',
            )
        ),
    ]  # fmt: skip
    cell = found.cells[Choice('vit', 'cam'), 'pamr']
    assert cell.stages == ('vit', 'vit__cam', 'vit__cam__pamr', 'vit__cam__pamr__score')
    assert (cell.score, cell.metric) == (cell.stages[-1], 'miou')
    best = found.cells[Choice('vit', 'cam'), BEST]
    assert best.stages[-1] == f'vit__cam__{BEST}' and best.metric == 'best_miou'
    refine = next(c for c in found.configs() if c['name'] == 'vit__cam__pamr')
    assert refine['threshold'] == 'otsu' and refine['seeds'] == 'vit__cam'


def test_equal_stages_are_one() -> None:
    twin, same = classifier(Path('data'), VIT), classifier(Path('data'), dict(VIT))
    found = plan(
        classifiers=dict(vit=twin, other=same, deep=classifier(Path('data'), EX_VIT)),
        heads=dict(cam=dict(type='CAM'), again=dict(type='CAM')),
        refiners=dict(none=[BACKGROUND], nothing=[dict(BACKGROUND)]),
    )
    assert len(found.configs()) == 2 * (1 + 1 + 1 + 2), 'of 3 * (1 + 2 * (2 + 2 * 2))'
    cells = {
        cell for (choice, _), cell in found.cells.items() if choice.head == 'again'
    }
    assert {cell.stages[1] for cell in cells} == {'vit__cam', 'deep__cam'}
    more = plan(heads=dict(cam=dict(type='CAM'), low=dict(type='CAM', floor='minimum')))
    assert len(more.configs()) == 1 + 2 * 6, 'one argument makes another stage'


def test_the_best_threshold_on_masks_can_be_asked_for() -> None:
    found = plan(refine=dict(threshold='best', threshold_factor=0.8))
    refine = next(c for c in found.configs() if c['name'] == 'vit__cam__none')
    assert refine['threshold'] == f'vit__cam__{BEST}'
    without = found.configs([f'vit__cam__{BEST}'])
    assert [c['name'] for c in without if 'cam' in c['name']] == ['vit__cam']
    assert f'vit__cam__{BEST}' in found.cells[Choice('vit', 'cam'), 'none'].stages


def test_what_is_left_out_takes_with_it_what_reads_it() -> None:
    found = plan(classifiers=dict(a=classifier(Path('x'), VIT), b='training.py'))
    names = {c['name'] for c in found.configs(['a__cam', 'b'])}
    assert names == {'a', *(n for n in names if n.startswith('a__rollout'))}
    assert len(names) == 7
    nothing = found.configs(['a__cam', 'a__rollout', 'b'])
    assert nothing == [], 'no maps, so no training'


def test_parts_in_the_order_given() -> None:
    part = Matrix(**content()).select(heads=['rollout', 'cam'], refiners=['pamr'])
    assert [*part.heads] == ['rollout', 'cam'] and [*part.refiners] == ['pamr']
    assert part.seeds == [0, 1, 2] and [*part.classifiers] == ['vit']
    assert Matrix(**content()).select(seeds=[4]).seeds == [4]


@pytest.mark.parametrize(
    ('kinds', 'message'),
    [
        (dict(heads=['cams']), "--heads: the matrix has no 'cams': did you mean 'cam'?"),
        (dict(refiners=['none', 'none']), "--refiners: 'none' comes twice"),
        (dict(classifiers=['resnet']), "--classifiers: the matrix has no 'resnet': Allowed: vit"),
        (dict(seeds=[1, 1]), '--seeds: 1 comes twice'),
        (dict(seeds=[-1]), '--seeds must be a list of whole numbers from 0 on'),
    ],
)  # fmt: skip
def test_wrong_parts(kinds, message) -> None:
    with pytest.raises(ConfigError) as error:
        Matrix(**content()).select(**kinds)
    assert message in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'message', 'token'),
    [
        (dict(heads={}), 'matrix.heads must be a dict .* one at least', 'heads'),
        (dict(classifiers=['a.py']), 'matrix.classifiers must be a dict', 'classifiers'),
        (dict(heads={'a b': {}}), "letters, digits and single _ .* not 'a b'", 'a b'),
        (dict(heads={'a__b': {}}), "not 'a__b'", 'a__b'),
        (dict(heads={'a_': {}}), "not 'a_'", 'a_'),
        (dict(refiners={BEST: [BACKGROUND]}), 'which is a column already', BEST),
        (dict(refiners=dict(none=[])), "'none' must be a list of refiners", 'none'),
        (dict(refiners=dict(none=BACKGROUND)), 'must be a list of refiners', 'none'),
        (dict(maps=dict(head={})), "matrix.maps may not have 'head'", 'maps'),
        (dict(refine=[1]), 'matrix.refine must be a dict', 'refine'),
        (dict(seeds=[]), 'seeds must be a list of whole numbers', 'seeds'),
        (dict(seeds=[0.5]), r'not \[0.5\]', 'seeds'),
        (dict(classifiers=dict(a=dict(file='x'))), 'must be the file of a training', 'a'),
        (dict(classifiers=dict(a=dict(config='x', seed=1))), "'config' and perhaps", 'a'),
    ],
)  # fmt: skip
def test_mistakes_of_a_config(changes, message, token) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        plan(**changes)
    assert error.value.token == token and '\n' not in str(error.value)


def test_a_config_without_a_matrix_or_with_half_of_one() -> None:
    with pytest.raises(ConfigError, match="has no dict 'matrix': a pipeline runs with"):
        Matrix.of(Config(dict(pipeline=[])))
    half = content()
    del half['masks']
    with pytest.raises(ConfigError, match="the matrix needs also 'masks'"):
        Matrix.of(Config(dict(matrix=half)))
    with pytest.raises(ConfigError, match="no argument 'refiner': did you mean 'refi"):
        Matrix.of(Config(dict(matrix=content(refiner={}))))


# What cannot be


def matrix_run(root: Path, tmp_path: Path, **changes: Any) -> MatrixRun:
    matrix = Matrix(**content(root, **changes))
    (tmp_path / 'mine.py').touch()
    return MatrixRun(matrix, str(tmp_path / 'mine.py'), tmp_path / 'work')


def test_heads_that_say_nothing_of_a_model_are_known_before_training(
    root, tmp_path
) -> None:
    heads = dict(
        cam=dict(type='CAM'),
        rollout=dict(type='AttentionRollout'),
        acr=dict(type='ACRGradientMap', start_block=-3),  # there are two blocks
    )
    models = dict(
        vit=classifier(root, VIT),
        registers=classifier(root, dict(VIT, reg_tokens=2)),
        exvit=classifier(root, EX_VIT),
        cnn=classifier(root, RESNET, sources=('patch',)),
    )
    state = torch.get_rng_state()
    runs = matrix_run(root, tmp_path, heads=heads, classifiers=models)
    assert torch.equal(torch.get_rng_state(), state)
    reasons = {name: text.split(':')[0] for name, text in runs.refused.items()}
    assert reasons == {
        'vit__acr': 'the backbone has blocks 0 to 1 (or -2 to -1), not -3 (start_block)',
        'registers__acr': 'the backbone has blocks 0 to 1 (or -2 to -1), not -3 (start_block)',
        'exvit__rollout': 'the attention of ExViT is negative in places, and '
        'AttentionRollout multiplies shares that sum to one',
        'exvit__acr': 'the backbone has blocks 0 to 1 (or -2 to -1), not -3 (start_block)',
        'cnn__rollout': 'AttentionRollout reads attention, and TimmCNN has none',
        'cnn__acr': 'ACRGradientMap reads attention, and TimmCNN has none',
    }
    states = runs.states(1)
    assert set(states.values()) == {'new'} and not (tmp_path / 'work').exists()
    assert not any(name in states or f'{name}__none' in states for name in reasons)
    assert {'cnn__cam__pamr__score', 'vit__rollout__none', 'registers'} <= set(states)
    runs.refuse_unlike()  # all from scratch


def test_a_classifier_without_maps_is_not_trained(root, tmp_path) -> None:
    cnn = dict(cnn=classifier(root, RESNET, sources=('patch',)))
    rollout = dict(rollout=dict(type='AttentionRollout'))
    runs = matrix_run(root, tmp_path, classifiers=cnn, heads=rollout)
    assert runs.states(0) == {}
    runs.run(0)  # nothing
    table = runs.table()
    assert {e.refused != '' for e in table.entries.values()} == {True}
    assert table.missing == 0
    files = write_tables(table, tmp_path / 'out')
    assert [f.suffix for f in files] == ['.md', '.csv'], 'no page of no stage'
    assert '| cnn | rollout | - | - | - |' in files[0].read_text()


def test_unlike_beginnings_are_refused_before_any_work(root, tmp_path) -> None:
    other = classifier(root, dict(VIT, pretrained=str(tmp_path / 'other.pth')))
    models = dict(a=classifier(root, VIT), b=classifier(root, VIT), c=other)
    models['b']['config']['train_cfg'] = dict(by_epoch=True, max_epochs=2)
    with pytest.raises(
        UserError, match=r"first 'c' .*initial weights: unknown"
    ) as error:
        matrix_run(root, tmp_path, classifiers=models).refuse_unlike()
    assert 'give --mix' in str(error.value)


def test_the_config_of_the_manual(tmp_path) -> None:
    page = (ROOT / 'docs/how-to/run_a_matrix.md').read_text('utf-8')
    (code,) = re.findall(r'^```python\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/heads_matrix.py').write_text(code)
    for name in ('_base_', 'acr'):
        (tmp_path / name).symlink_to(ROOT / 'configs' / name)
    cfg = load_config(tmp_path / 'mine/heads_matrix.py')
    stages = Plan(Matrix.of(cfg)).configs()
    assert len(stages) == 2 + 4 * (2 + 2 * 2)
    check_config(stages)
    for training in stages:
        if 'config' in training:
            file = tmp_path / 'mine' / training['config']
            check_config(load_config(file, training.get('options')).to_dict())
    keys = set(re.findall(r'^\| ((?:`\w+`(?:, )?)+) \|', page, re.MULTILINE))
    documented = {word for row in keys for word in re.findall(r'`(\w+)`', row)}
    assert documented == {field.name for field in fields(Matrix) if field.init}
