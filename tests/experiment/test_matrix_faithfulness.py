"""Faithfulness in a matrix: its stages, its columns and how they agree with mIoU."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from scipy.stats import spearmanr

from wsss_plugins.engine import StageRecord
from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment.matrix import (
    BEST,
    Choice,
    Matrix,
    Plan,
    Table,
    write_tables,
)
from wsss_plugins.stages import InsertionDeletionTestStage, PerturbationTestStage
from wsss_plugins.structures import SupervisionCard
from wsss_plugins.structures.card import Split, Tags
from wsss_plugins.structures.card_text import card_to_json

CARD = SupervisionCard(
    split=Split('VOC12', 'train', 7, 'a' * 16), labels=Tags.TRUE(), seeds=(0,)
)
BACKGROUND = dict(type='ConstantBackground')
IMAGES = dict(type='VOC12', data_root='data', split='train')
HEADS = ('cam', 'rollout', 'getam', 'legrad')
TYPES = dict(cam='CAM', rollout='AttentionRollout', getam='GETAM', legrad='LeGrad')
MIOU = dict(cam=40.0, rollout=10.0, getam=30.0, legrad=20.0)
FAITHFUL = dict(
    cam=(80.0, 10.0, 20.0, 60.0),
    rollout=(50.0, 40.0, 20.0, 63.0),
    getam=(60.0, 30.0, 20.0, 62.0),
    legrad=(70.0, 20.0, 20.0, 61.0),
)
"""Insertion, deletion, positive and negative perturbation of each seed head."""


def content(**changes: Any) -> dict[str, Any]:
    given = dict(
        classifiers=dict(vit='training.py'),
        heads={head: dict(type=TYPES[head]) for head in HEADS},
        refiners=dict(none=[BACKGROUND]),
        images=IMAGES,
        masks=dict(IMAGES, label_maps='SegmentationClass', test_mode=True),
        refine=dict(threshold='otsu'),
        faithfulness=dict(photos=7, levels=5),
    )
    return {**given, **changes}


def record(name: str, metrics: dict[str, float]) -> StageRecord:
    return StageRecord(
        name, 'Kind', 'f', {}, 0, True, metrics, seconds=10.0, finished='2026-01-01T00:00',
        environment=dict(commit='abc', device='CPU', threads=1, versions=dict(torch='2')),
        card=card_to_json(CARD),
    )  # fmt: skip


def table(
    heads: tuple[str, ...] = HEADS, fewer: str = '', **changes: Any
) -> tuple[Table, dict[str, StageRecord]]:
    """The table of all stages, without errors; one head may have lost two photos."""
    plan = Plan(Matrix(**content(**changes)))
    made = [record('vit', {'multilabel/mAP': 90.0})]
    for head in heads:
        name, miou = f'vit__{head}', MIOU[head]
        insertion, deletion, positive, negative = FAITHFUL[head]
        seen = dict(images=7, failed=2 if head == fewer else 0)
        errors = dict(boundary_miou=miou / 2, fp_rate=12.0, fn_rate=90 - miou)
        made += [
            record(name, dict(images=100)),
            record(f'{name}__{BEST}', dict(best_miou=miou + 1, best_threshold=0.25)),
            record(f'{name}__none', dict(images=100, failed=0, threshold=0.125)),
            record(f'{name}__none__score', dict(errors, miou=miou, images=100)),
            record(
                f'{name}__insertion_deletion',
                dict(seen, map_insertion=insertion, map_deletion=deletion),
            ),
            record(
                f'{name}__perturbation',
                dict(seen, map_positive=positive, map_negative=negative),
            ),
        ]
    records = {r.stage: r for r in made}
    return Table(plan, {0: records}, {}, {}), records


# Stages


def test_two_stages_for_each_row_on_a_sample() -> None:
    plan = Plan(Matrix(**content()))
    configs = {config['name']: config for config in plan.configs()}
    one = configs['vit__cam__insertion_deletion']
    assert one['type'] is InsertionDeletionTestStage and one['model'] == 'vit'
    assert one['dataset'] == dict(IMAGES, sample=7) and one['steps'] == 16
    assert (one['explained'], one['probability']) == ('target', 'sigmoid')
    other = configs['vit__cam__perturbation']
    assert other['type'] is PerturbationTestStage and other['steps'] == 5
    assert other['explained'] == ['target'] and other['dataset'] == one['dataset']
    assert len(configs) == 1 + 4 * 6
    cell = plan.cells[Choice('vit', 'cam'), 'deletion']
    assert cell.stages == ('vit', 'vit__cam', 'vit__cam__insertion_deletion')
    assert cell.metric == 'map_deletion'
    columns = [BEST, 'none', 'insertion', 'deletion', 'positive', 'negative']
    assert plan.columns == columns and plan.localisation == columns[:2]
    assert Plan(Matrix(**content(faithfulness=None))).columns == columns[:2]


def test_what_refuses_the_maps_refuses_the_test() -> None:
    plan = Plan(Matrix(**content()))
    left = {config['name'] for config in plan.configs(['vit__rollout'])}
    assert not any('rollout' in name for name in left) and len(left) == 1 + 3 * 6
    found = Table(plan, {0: {}}, {'vit__rollout': 'it cannot'}, {})
    assert found.entries[Choice('vit', 'rollout'), 'insertion'].refused == 'it cannot'


def test_a_failed_test_leaves_the_other_numbers() -> None:
    made = table()[1]
    del made['vit__cam__perturbation']
    plan = Plan(Matrix(**content()))
    found = Table(plan, {0: made}, {}, {0: {'vit__cam__perturbation': 'no luck'}})
    cam = Choice('vit', 'cam')
    assert (
        found.entries[cam, 'none'].mean == 40 and found.entries[cam, 'insertion'].mean
    )
    assert found.entries[cam, 'negative'].failed == {0: 'no luck'}


@pytest.mark.parametrize(
    ('given', 'message', 'token'),
    [
        (True, 'matrix.faithfulness must be a dict, which may be empty, not', 'faithfulness'),
        (dict(photo=3), "no argument 'photo': did you mean 'photos'", 'photo'),
        (dict(photos=0), 'photos must be whole numbers from 1 on, not 0', 'photos'),
        (dict(photos='all'), "from 1 on, not 'all'", 'photos'),
        (dict(levels=1), 'levels must be whole numbers from 2 on, not 1', 'levels'),
        (dict(input_size=224), r'input_size must be \(H, W\), not 224', 'input_size'),
        (dict(input_size=(224, 4)), 'input_size must be whole .* 8 on, not 4', 'input_size'),
    ],
)  # fmt: skip
def test_wrong_options(given, message, token) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        Matrix(**content(faithfulness=given))
    assert error.value.token == token and '\n' not in str(error.value)


def test_no_refiner_has_the_name_of_a_measure() -> None:
    with pytest.raises(ConfigError, match="column already; not 'insertion'"):
        Matrix(**content(refiners=dict(insertion=[BACKGROUND])))


# Tables


def test_columns_of_faithfulness(tmp_path) -> None:
    found, _ = table()
    md, table_csv, html, correlation = write_tables(found, tmp_path / 'a')
    text = md.read_text()
    assert '| best threshold | none | insertion ↑ | deletion ↓ | positive ↓ |' in text
    best = '| vit | cam | **41.0** | **40.0** | **80.0** | **10.0** | **20.0** | 60.0 |'
    assert best in text, 'low deletion is best'
    assert '|  | rollout | 11.0 | 10.0 | 50.0 | 40.0 | **20.0** | **63.0** |' in text
    assert 'resized to 224x224; 16 steps of insertion' in text
    assert 'whose areas are at most 80.' in text
    assert 'over 100; insertion ↑, deletion ↓, positive ↓, negative ↑ over 7;' in text
    assert '| vit | cam | - / - / - | 20.0 / 12.0 / 50.0 | 0.250 / 0.125 |' in text
    rows = list(csv.DictReader(table_csv.read_text().splitlines()))
    of = {(r['head'], r['column']): r for r in rows}
    one, other = of['cam', 'deletion'], of['cam', 'none']
    assert (one['miou'], one['faithfulness'], one['photos']) == ('', '10.0', '7')
    assert (other['miou'], other['faithfulness'], other['photos']) == (
        '40.0',
        '',
        '100',
    )
    assert (other['boundary_miou'], other['threshold']) == ('20.0', '0.125')
    assert float(one['seconds']) == 10.0, 'of the test alone'
    assert '- vit: cam with none, 40.0' in text, 'no measure is a pseudo label'
    page = html.read_text()
    assert page.count('<svg') >= 4 and 'cam: deletion ↓ 10.0, mIoU, none 40.0' in page
    assert correlation.read_text().startswith(
        'classifier,column,measure,cells,spearman'
    )


def test_correlation_counts_low_deletion_as_faithful(tmp_path) -> None:
    found, _ = table()
    md, _, _, correlation = write_tables(found, tmp_path / 'a')
    rows = list(csv.DictReader(correlation.read_text().splitlines()))
    of = {r['measure']: r for r in rows if r['column'] == 'none'}
    assert {r['classifier'] for r in rows} == {'vit'}, 'one classifier is all cells'
    miou = [MIOU[head] for head in HEADS]
    for i, (measure, sign) in enumerate([('insertion', 1), ('deletion', -1)]):
        theirs = [sign * FAITHFUL[head][i] for head in HEADS]
        expected = spearmanr(miou, theirs).statistic
        assert float(of[measure]['spearman']) == pytest.approx(expected) == 0.8
        assert -1 <= float(of[measure]['low']) < 0.8 <= float(of[measure]['high'])
    assert of['positive']['spearman'] == ''
    assert of['positive']['undefined'] == 'all 4 values are 20'
    text = md.read_text()
    assert '| vit | positive ↓ | 4 | undefined | undefined |' in text
    assert 'Undefined: all 4 values are 20.' in text and '0.80 [' in text
    assert 'Cells are resampled' in text


def test_too_few_cells(tmp_path) -> None:
    found, _ = table(HEADS[:2])
    text = write_tables(found, tmp_path / 'a')[0].read_text()
    assert '| vit | insertion ↑ | 2 | undefined | undefined |' in text
    assert 'Undefined: 2 cells, fewer than 3.' in text


def test_another_number_of_photos_is_said(tmp_path) -> None:
    found, _ = table(fewer='cam')
    text = write_tables(found, tmp_path / 'a')[0].read_text()
    assert '| **80.0 (5 photos)** | **10.0 (5 photos)** |' in text
    assert text.count('photos)') == 4


def test_no_faithfulness_no_correlation(tmp_path) -> None:
    found, _ = table(faithfulness=None)
    paths = write_tables(found, tmp_path / 'a')
    assert [path.name for path in paths] == ['a.md', 'a.csv', 'a.html']
    assert 'aithful' not in paths[0].read_text()
