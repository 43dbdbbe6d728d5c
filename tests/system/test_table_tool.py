"""tools/table.py on a finished pipeline, and the commands of its page."""

from __future__ import annotations

import csv
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import tiny

from wsss_plugins.engine import StageRecord
from wsss_plugins.structures.card_text import short_form

pytestmark = pytest.mark.slow
PAGE = tiny.ROOT / 'docs/how-to/read_a_number.md'


@pytest.fixture
def table(capsys, monkeypatch):
    """Runs the tool in this process; what it prints."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, 'argv', ['table.py', *map(str, arguments)])
        capsys.readouterr()
        runpy.run_path(str(tiny.TOOLS / 'table.py'), run_name='__main__')
        return capsys.readouterr().out

    return run


def test_commands_of_the_page(finished, table, monkeypatch, tmp_path) -> None:
    place = tmp_path / 'work_dirs/acr/synthetic_pipeline'
    place.parent.mkdir(parents=True)
    place.symlink_to(finished)
    monkeypatch.chdir(tmp_path)
    first, mixed = re.findall(r'^python tools/table.py (.*)$', PAGE.read_text(), re.M)
    lines = table(*shlex.split(first)).splitlines()
    best = StageRecord.load(finished / 'acr_score').metrics['best_miou']
    assert lines[3] == (
        f'| acr_score | {best:.2f} | VOC12 train 24 · I · scratch · thr: these masks · '
        'true tags · flip · 1 seed |'
    )
    assert len(lines) == 4
    text = table(*shlex.split(mixed))
    assert len([line for line in text.splitlines() if line.startswith('| ')]) == 12
    assert re.search(r'\| prediction_score § \| - \| [\d.]+ \| VOC12 val 12 · ', text)
    assert '\n† images: VOC12 val 12 [' in text


def test_the_line_of_the_page_is_one_that_is_printed(finished) -> None:
    shown = re.search(r'```text\n(.*)\n```', PAGE.read_text())[1]
    card = StageRecord.load(finished / 'prediction_score').supervision
    assert shown == short_form(card).replace('val 12', 'val 400')


def test_refusals(finished, refused) -> None:
    said = refused('table.py', finished)
    assert said.startswith("3 of 10 rows are unlike the others, first 'classifier'")
    assert said.endswith(
        'or give --mix to have them in one table, where they are marked'
    )
    assert refused('table.py', finished, '--stage', 'camscore').startswith(
        f"{finished} has no stage 'camscore' that is done: there are classifier, cam, "
    )
    assert 'holds no results' in refused('table.py', finished / 'nowhere')


def test_csv_and_file(finished, table, tmp_path) -> None:
    out = tmp_path / 'there/table.csv'
    options = ['--metric', 'miou', 'boundary_miou', '--csv', '--mix', '--out', out]
    text = table(finished / 'pseudo_score', finished / 'prediction_score', *options)
    assert out.read_text() == text
    rows = list(csv.DictReader(text.splitlines()))
    assert [r['row'] for r in rows] == ['pseudo_score', 'prediction_score']
    metrics = StageRecord.load(finished / 'pseudo_score').metrics
    assert float(rows[0]['boundary_miou']) == metrics['boundary_miou']
    assert rows[0]['unlike'] == '' and rows[1]['unlike'].startswith('images: VOC12 val')


def test_what_training_and_measuring_alone_leave(data_root, tmp_path, table) -> None:
    """metrics.json with a card, from tools/train.py and of the same weights tools/test.py."""
    work = tmp_path / 'alone'
    small = [f'{k}={v}' for k, v in tiny.small_options(tiny.CLASSIFIER).items()]
    trained = tiny.run_python(tiny.TOOLS / 'train.py', *tiny.train(data_root, work))
    short = 'VOC12 val 12 · I · scratch · 1 view · 1 seed'
    assert trained.stdout.splitlines()[-1] == short
    options = ['--data-root', data_root, '--work-dir', work, '--cfg-options', *small]
    weights = work / 'weights.safetensors'
    tiny.run_python(tiny.TOOLS / 'test.py', tiny.CLASSIFIER, weights, *options)
    both = table(work, work / 'test').splitlines()
    assert [line.split(' | ')[-1] for line in both[2:]] == [f'{short} |'] * 2
    assert Path(work / 'test/metrics.json').is_file()
