"""Results of runs as an object: Markdown, CSV, and what a notebook shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wsss_plugins.errors import UserError
from wsss_plugins.provenance.files import save_metrics
from wsss_plugins.report import ResultsTable, results_table
from wsss_plugins.report.comparison import comparison
from wsss_plugins.report.rows import Row
from wsss_plugins.structures.card import Split, SupervisionCard

CARD = SupervisionCard(split=Split('VOC12', 'val', 3, 'aaaa', masks='mm'), seeds=(0,))
OTHER = replace(CARD, flip=True)
ROWS = [Row('<one>', dict(mIoU=51.25), CARD), Row('two', dict(mIoU=4.0, FP=1.0), CARD)]


def test_it_prints_what_the_tool_prints() -> None:
    table = ResultsTable(ROWS)
    assert str(table) == comparison(ROWS)
    assert table.csv() == comparison(ROWS, as_csv=True)
    assert '51.25' in str(table)


def test_a_notebook_shows_every_row_escaped() -> None:
    shown = ResultsTable(ROWS)._repr_html_()
    assert shown.count('<tr>') == 3 and '<one>' not in shown
    assert '<th scope="row">&lt;one&gt;</th><td class="num">51.25</td>' in shown
    assert '<td class="num">-</td>' in shown, 'no FP of the first'
    assert 'VOC12 val 3' in shown and '†' not in shown


def test_unlike_rows_are_refused_or_marked() -> None:
    rows = [*ROWS, Row('three', dict(mIoU=9.0), OTHER)]
    with pytest.raises(UserError, match="first 'three'"):
        ResultsTable(rows)._repr_html_()
    shown = ResultsTable(rows, mix=True)._repr_html_()
    assert 'three †' in shown and '<p>† flip: yes, not none</p>' in shown


def test_runs_are_read_from_their_folders(tmp_path) -> None:
    for name, card in (('a', CARD), ('b', OTHER)):
        save_metrics(tmp_path / name / 'metrics.json', dict(mIoU=50.0), card)
    table = results_table(tmp_path / 'a')
    assert [row.title for row in table.rows] == ['a']
    with pytest.raises(UserError, match='unlike'):
        results_table(tmp_path / 'a', str(tmp_path / 'b'))
    mixed = results_table(tmp_path / 'a', tmp_path / 'b', mix=True)
    assert [row.metrics for row in mixed.rows] == [dict(mIoU=50.0)] * 2
    with pytest.raises(UserError, match='holds no results'):
        results_table(tmp_path)
