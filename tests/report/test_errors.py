"""The page on errors: its numbers, its worst images, and the command that makes it."""

from __future__ import annotations

import csv
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from made_runs import OBJECTS, SIZE, make_data, make_files, run_pipeline, truth_of

from wsss_plugins.engine import StageRecord
from wsss_plugins.errors import ConfigError, DataError, UserError
from wsss_plugins.report import ErrorStage
from wsss_plugins.report.error_page import worst_images
from wsss_plugins.report.error_pictures import ERROR_COLOURS, error_picture
from wsss_plugins.report.made_labels import made_labels
from wsss_plugins.report.recorded import recorded_dataset, recorded_threshold
from wsss_plugins.structures import load_json, save_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('errors')
    files = make_files(folder / 'files', 2)
    return run_pipeline(folder / 'work', make_data(folder / 'data'), files)


def page_of(folder: Path) -> str:
    return (folder / 'errors.html').read_text('utf-8')


def test_numbers_of_the_stage_are_those_of_the_masks(work) -> None:
    record = StageRecord.load(work / 'errors')
    assert record is not None and record.done
    metrics, pixels = record.metrics, 0
    wrong = dict(missed=0, false=0, confused=0)
    for name in OBJECTS:
        truth = truth_of(name)
        made = made_labels(work / 'pseudo', 4).load(name)
        known = truth != 255
        pixels += known.sum()
        wrong['missed'] += ((truth > 0) & (made == 0) & known).sum()
        wrong['false'] += ((truth == 0) & (made > 0) & known).sum()
        wrong['confused'] += ((truth > 0) & (made > 0) & (truth != made) & known).sum()
    for kind, count in wrong.items():
        assert metrics[kind] == pytest.approx(100 * count / pixels, abs=1e-3)
    assert metrics['objects'] == 5 and metrics['regions'] == 4
    assert metrics['missed_objects'] == 40, "the dog of b, and d's cat"
    assert metrics['false_objects'] == 25, 'the cat in b'
    assert record.supervision is not None and record.supervision.split.masks is not None
    assert (
        record.supervision.protocol['objects']
        == 'missed below 0.1 found, at least 25 px'
    )


def test_files_have_every_image(work) -> None:
    found = load_json(work / 'errors/errors.json')
    assert list(found['per_image']) == list(OBJECTS)
    assert found['per_image']['d']['missed_objects'] == 1
    with (work / 'errors/images.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['image'] for row in rows] == list(OBJECTS)
    assert float(rows[3]['missed']) == found['per_image']['d']['missed']
    (pair,) = found['confusions']
    assert (pair['truth'], pair['taken_for']) == ('dog', 'cat')
    assert pair['tagged'] == 0, 'no cat is tagged in b'


def test_the_page_needs_nothing_else_and_shows_the_worst_first(work) -> None:
    page = page_of(work / 'errors')
    assert set(re.findall(r'https?://[^"\s]+', page)) <= {'http://www.w3.org/2000/svg'}
    assert '<script' not in page and '$' not in page
    worst = page[page.index('id="worst"') :]
    order = re.findall(
        r'alt="errors in (\w)"', worst[: worst.index('Most pixels of background')]
    )
    assert order[0] == 'd' and set(order) <= set(OBJECTS)
    assert 'dog → cat' in page and 'sofa' not in page


@pytest.mark.slow
def test_names_are_text(work, tmp_path) -> None:
    stage = ErrorStage(
        'errors', 'pseudo', recorded_dataset(work / 'pseudo'), title='<b>'
    )
    stage.run(tmp_path, {'pseudo': work / 'pseudo'})
    assert '<h1>&lt;b&gt;</h1>' in page_of(tmp_path)


@pytest.mark.slow
def test_seeds_are_cut_at_a_threshold(work, tmp_path) -> None:
    data = recorded_dataset(work / 'maps')
    assert recorded_threshold(work / 'maps') == pytest.approx(0.1, abs=0.01)
    metrics = {}
    for level in ('maps_score', 0.5, 0.95):
        stage = ErrorStage('errors', 'maps', data, threshold=level)
        inputs = {name: work / name for name in stage.inputs}
        metrics[level] = stage.run(tmp_path / str(level), inputs)
    assert metrics[0.5]['missed_objects'] == 40, 'those of b and d'
    assert metrics[0.5]['confused'] == 0, 'seeds know their tags'
    assert metrics['maps_score']['wrong'] == metrics[0.5]['wrong']
    assert metrics['maps_score']['threshold'] == recorded_threshold(work / 'maps')
    assert metrics[0.95]['missed_objects'] == 100 and metrics[0.95]['regions'] == 0
    thresholds = (
        ErrorStage('e', 'maps', data, threshold='maps_score').measured().thresholds
    )
    assert (
        str(thresholds[0].source.value) == 'masks' and thresholds[0].of == 'maps_score'
    )


def test_what_cannot_be_examined_is_one_line(work, tmp_path) -> None:
    data = recorded_dataset(work / 'maps')
    with pytest.raises(UserError, match='without a background: give a threshold'):
        ErrorStage('errors', 'maps', data).run(tmp_path, {'maps': work / 'maps'})
    with pytest.raises(DataError, match='no label maps'):
        made_labels(tmp_path, 4)
    with pytest.raises(ConfigError, match='share found in'):
        ErrorStage('errors', 'maps', data, found=2.0)
    with pytest.raises(UserError, match='no config beside'):
        recorded_dataset(tmp_path)


def test_nothing_that_a_work_dir_names_is_imported(tmp_path) -> None:
    planted = dict(type='antigravity.Planted', label_maps='x', data_root='.', split='x')
    save_json(tmp_path / 'stage/config.json', dict(config=dict(dataset=planted)))
    with pytest.raises(UserError, match='not registered here'):
        recorded_dataset(tmp_path / 'stage')
    assert 'antigravity' not in sys.modules


def test_colours_of_an_error_picture() -> None:
    truth = np.array([[0, 1, 1, 0, 2, 255]], np.uint8)
    made = np.array([[0, 1, 0, 1, 1, 1]], np.uint8)
    photo = np.full((1, 6, 3), 100, np.uint8)
    shown = np.asarray(error_picture(photo, truth, made))[0]
    colours = [np.array(c) for c in ERROR_COLOURS.values()]
    expected = [np.full(3, 100), *(40 + 0.6 * colour for colour in colours)]
    np.testing.assert_allclose(shown, expected, atol=1)


def test_worst_images_leave_out_what_is_right_or_unknown() -> None:
    images = {'a': dict(x=1.0), 'b': dict(x=0), 'c': dict(x=None), 'd': dict(x=3)}
    assert worst_images(images, 'x', 5) == ['d', 'a']
    assert worst_images(images, 'x', 1) == ['d']


def run_tool(monkeypatch, *words: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['errors.py', *map(str, words)])
    runpy.run_path(str(ROOT / 'tools/errors.py'), run_name='__main__')


@pytest.mark.slow
def test_the_command_finds_masks_and_threshold(
    work, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    run_tool(monkeypatch, work / 'maps')
    said = capsys.readouterr().out
    assert (
        'missed_objects 40.00  regions 3  false' in said
        and 'errors_maps/errors.html' in said
    )
    assert load_json(tmp_path / 'errors_maps/errors.json')['images'] == 4
    given = ['--dataset', 'VOC12', '--data-root', work.parent / 'data']
    given += ['--split', 'train', '--masks', 'SegmentationClass', '--out', 'x']
    run_tool(monkeypatch, work.parent / 'files/labels', *given)
    assert load_json('x/errors.json')['objects']['objects'] == 5


@pytest.mark.slow
def test_the_command_refuses_in_one_line(work, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for words, said in (
        ([tmp_path / 'none'], 'is no folder'),
        ([work.parent / 'files/labels'], 'give --data-root, --split and --masks'),
    ):
        with pytest.raises(SystemExit) as left:
            run_tool(monkeypatch, *words)
        line = capsys.readouterr().err
        assert left.value.code == 2 and said in line and line.count('\n') == 1
    assert SIZE == (40, 60)
