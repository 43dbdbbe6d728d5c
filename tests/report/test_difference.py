"""The comparison of two runs, on runs that differ in what is known."""

from __future__ import annotations

import re
import runpy
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest
from made_runs import OBJECTS, make_data, make_files, run_pipeline

from wsss_plugins.engine import StageRecord
from wsss_plugins.errors import UserError
from wsss_plugins.report.changed_images import changed_stages, most_changed
from wsss_plugins.report.difference import (
    differences,
    image_mious,
    mean_change,
    side_of,
)
from wsss_plugins.report.difference_page import difference_lines, difference_page
from wsss_plugins.report.error_pictures import CHANGE_COLOURS, change_picture
from wsss_plugins.structures import load_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def runs(tmp_path_factory) -> Path:
    """Two groups of two seeds; the label maps of the second are nearer to the truth."""
    folder = tmp_path_factory.mktemp('runs')
    data = make_data(folder / 'data')
    for group, shifts in dict(far=(4, 6), near=(1, 2)).items():
        for seed, shift in enumerate(shifts):
            files = make_files(folder / f'files/{group}_{seed}', shift)
            options = dict(gallery=2) if group == 'far' else {}
            run_pipeline(folder / group / f'seed_{seed}', data, files, seed, **options)
    return folder


def changed(one, other) -> dict:
    return {each.stage: each for each in differences(one, other)}


@pytest.mark.slow
def test_a_run_equals_itself(runs) -> None:
    side = side_of(runs / 'far/seed_0')
    assert all(each.same for each in differences(side, side))
    page = difference_page(side, side)
    assert page.count('made alike') == 5 and 'id="images"' not in page


@pytest.mark.slow
def test_what_differs_is_named_where_it_is(runs) -> None:
    found = changed(side_of(runs / 'far/seed_0'), side_of(runs / 'near/seed_0'))
    pseudo, score, errors = (found[n] for n in ('pseudo', 'pseudo_score', 'errors'))
    (key,) = pseudo.own['config']
    assert key.startswith('path ') and 'far_0' in key and pseudo.reads == []
    assert 'files' in pseudo.own['data'][0]
    assert score.own['config'] == [] == score.own['data'] and score.reads == ['pseudo']
    assert errors.own['config'] == ['gallery 2 → nothing']
    assert found['maps'].own['seed'] == [] and not found['maps'].same


@pytest.mark.slow
def test_seed_code_machine_and_missing_stages(runs, tmp_path) -> None:
    copy = tmp_path / 'copy'
    shutil.copytree(runs / 'far/seed_0', copy, symlinks=True)
    shutil.rmtree(copy / 'errors')
    record = StageRecord.load(copy / 'maps_score')
    assert record is not None
    record.seed, record.code = 5, {'mine.heads:Head.run': 'abc', **(record.code or {})}
    record.environment['commit'], record.environment['workers'] = 'other', 3
    record.save(copy / 'maps_score')
    found = changed(side_of(runs / 'far/seed_0'), side_of(copy))
    score = found['maps_score']
    assert score.own['seed'] == ['0 → 5']
    assert score.own['code'] == ['mine.heads (newly imported)']
    assert 'workers 1 → 3' in score.own['machine'] and not score.same
    assert found['errors'].missing == 'copy'
    record.seed, record.code = 0, StageRecord.load(runs / 'far/seed_0/maps_score').code
    record.save(copy / 'maps_score')
    assert changed(side_of(runs / 'far/seed_0'), side_of(copy))['maps_score'].same, (
        'the machine makes no other result'
    )


@pytest.mark.slow
def test_data_is_compared_by_what_it_holds(runs, tmp_path) -> None:
    data = make_data(tmp_path / 'data')
    files = runs / 'files/far_0'
    moved = run_pipeline(tmp_path / 'moved', data, files)
    one = side_of(runs / 'far/seed_0')
    assert changed(one, side_of(moved))['pseudo_score'].own['data'] == []
    mask = tmp_path / 'data/SegmentationClass/a.png'
    shutil.copy(tmp_path / 'data/SegmentationClass/b.png', mask)
    edited = run_pipeline(tmp_path / 'edited', data, files)
    said = changed(side_of(moved), side_of(edited))['pseudo_score'].own['data']
    assert said == [f'1 of 4 masks changed, first a.png (VOC12 {tmp_path}/data train)']


@pytest.mark.slow
def test_numbers_have_the_spread_of_their_seeds(runs) -> None:
    one, other = side_of(runs / 'far'), side_of(runs / 'near')
    assert len(one.runs) == len(other.runs) == 2
    values = [
        StageRecord.load(runs / f'near/seed_{i}/pseudo_score').metrics['miou']
        for i in (0, 1)
    ]
    text = f'{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}'
    assert text in difference_page(one, other)
    (line,) = (
        s for s in difference_lines(one, other) if s.startswith('pseudo_score miou')
    )
    assert text in line and re.search(r'\(\+\d', line)
    scores = [
        load_json(runs / f'near/seed_{i}/pseudo_score/scores.json') for i in (0, 1)
    ]
    cats = [s['iou'][s['classes'].index('cat')] for s in scores]
    assert other.class_ious('pseudo_score')['cat'] == pytest.approx(np.mean(cats))


def test_the_interval_over_images_is_that_of_a_bootstrap() -> None:
    rng = np.random.default_rng(1)
    before = {str(i): 50.0 for i in range(400)}
    now = {str(i): 50 + float(v) for i, v in enumerate(rng.normal(2, 4, 400))}
    found = mean_change(before, {**now, 'more': 0.0})
    assert found is not None and found.images == 400
    steps = np.array([now[k] - 50 for k in before])
    half = 1.96 * steps.std(ddof=1) / 20
    assert found.mean == pytest.approx(steps.mean())
    assert found.low == pytest.approx(steps.mean() - half, abs=0.05)
    assert found.high == pytest.approx(steps.mean() + half, abs=0.05)
    assert mean_change(before, {'0': 1.0}) is None


@pytest.mark.slow
def test_the_images_that_changed_most_come_first(runs) -> None:
    one, other = side_of(runs / 'far/seed_0'), side_of(runs / 'near/seed_0')
    stages = {each.stage: each for each in changed_stages(one, other)}
    assert list(stages) == ['pseudo', 'maps']
    pseudo = most_changed(stages['pseudo'], one, other, 2)
    mious = [image_mious(side, 'pseudo_score') for side in (one, other)]
    steps = {name: abs(mious[1][name] - mious[0][name]) for name in OBJECTS}
    assert list(pseudo) == sorted(steps, key=lambda n: -steps[n])[:2]
    assert 'd' not in most_changed(stages['pseudo'], one, other, 9), 'empty in both'
    seeds = most_changed(stages['maps'], one, other, 9)
    assert set(seeds) == {'a', 'c'} and next(iter(seeds)) == 'c'
    assert all(re.fullmatch(r'[\d.]+ % of the pixels', text) for text in seeds.values())


@pytest.mark.slow
def test_the_page_needs_nothing_else_and_shows_both_sides(runs) -> None:
    one, other = side_of(runs / 'far/seed_0'), side_of(runs / 'near/seed_0')
    page = difference_page(one, other)
    assert set(re.findall(r'https?://[^"\s]+', page)) <= {'http://www.w3.org/2000/svg'}
    assert '<script' not in page and '$' not in page
    images = page[page.index('id="images"') :]
    for title in (
        'photo',
        'ground truth of',
        'far/seed_0 of',
        'near/seed_0 of',
        'changes of',
    ):
        assert f'alt="{title} c' in images
    assert '<h1>far/seed_0 and near/seed_0</h1>' in page


def test_colours_of_a_change() -> None:
    truth = np.array([[1, 1, 1, 0, 255]], np.uint8)
    before, after = np.array([[0, 1, 2, 0, 1]]), np.array([[1, 0, 0, 0, 2]])
    photo = np.full((1, 5, 3), 50, np.uint8)
    shown = np.asarray(change_picture(photo, truth, before, after))[0]
    right, lost, other = (20 + 0.6 * np.array(c) for c in CHANGE_COLOURS.values())
    np.testing.assert_allclose(shown, [right, lost, other, [50] * 3, other], atol=1)


@pytest.mark.slow
def test_folders_without_runs_are_refused(tmp_path, runs, monkeypatch, capsys) -> None:
    with pytest.raises(UserError, match='holds no finished stage'):
        side_of(tmp_path)
    out = tmp_path / 'page.html'
    words = ['diff.py', runs / 'far', runs / 'near', '--out', out, '--images', 1]
    monkeypatch.setattr(sys, 'argv', [str(word) for word in words])
    runpy.run_path(str(ROOT / 'tools/diff.py'), run_name='__main__')
    said = capsys.readouterr().out
    assert (
        'pseudo: config: path' in said and said.endswith(f'{out}\n') and out.is_file()
    )
