"""The parts of the report: charts, pictures, words and markup."""

from __future__ import annotations

import re

import numpy as np
import pytest

from wsss_plugins.report.charts import Curve, axes_of, bar_charts, curve_chart
from wsss_plugins.report.gallery import extremes
from wsss_plugins.report.markup import duration, number, table, tag
from wsss_plugins.report.results import describe
from wsss_plugins.structures.pictures import data_uri, heat_picture, label_picture


def test_extremes_leave_out_what_has_no_number() -> None:
    mious = {'a': 50.0, 'b': float('nan'), 'c': 10.0, 'd': None, 'e': 90.0}
    assert extremes(mious) == (['c', 'a'], ['e'])
    assert extremes(mious, count=1) == (['c'], ['e'])
    assert extremes({'a': 1.0}) == (['a'], [])
    assert extremes({}) == ([], [])


def test_null_in_one_series_is_a_dash() -> None:
    chart = bar_charts(
        dict(seeds=dict(cat=None, dog=50.0), labels=dict(cat=20.0, dog=10.0))
    )
    assert chart.index('>cat<') < chart.index('>dog<'), 'ordered by the last series'
    assert '<title>cat, seeds: –</title>' in chart
    widths = [float(w) for w in re.findall(r'width="([\d.]+)" height="9"', chart)]
    assert widths == pytest.approx([0, 47.6, 119, 23.8])  # of 238 for 100 %
    assert bar_charts(dict(seeds=dict(cat=None))) == ''


def test_many_classes_are_split_evenly_over_charts() -> None:
    charts = bar_charts(dict(labels={f'class{i}': float(i) for i in range(81)}))
    sizes = [part.count('<rect') for part in charts.split('<svg')[1:]]
    assert sizes == [17, 16, 16, 16, 16]


def test_best_point_of_a_curve() -> None:
    curve = Curve('CAM', [0.0, 0.25, 0.5, 1.0], [10.0, 32.0, 32.0, 4.0])
    assert curve.best == (0.25, 32.0), 'the lower threshold on ties'
    axes = axes_of([curve])
    assert (axes.low, axes.high, axes.top) == (0, 1, 40)
    # x: 34 + 0.25 * (360 - 34 - 10); y: 240 - 34 - 32 / 40 * (240 - 10 - 34)
    assert axes.x(0.25) == pytest.approx(113) and axes.y(32) == pytest.approx(49.2)
    chart = curve_chart([curve])
    assert 'transform="translate(113.00 49.20)"' in chart
    assert 'points="34.0,157.0 113.0,49.2 192.0,49.2 350.0,186.4"' in chart
    assert 'CAM</b> 32.0 at 0.25' in chart


def test_axes_end_at_round_numbers() -> None:
    axes = axes_of(
        [Curve('a', [0.0, 0.99], [1.0, 2.0]), Curve('b', [0.3, 0.7], [3.0, 61.0])]
    )
    assert (axes.low, axes.high, axes.top) == pytest.approx((0, 1, 70))
    one = axes_of([Curve('a', [0.4], [5.0])])
    assert np.isfinite([one.x(0.4), one.y(5)]).all()


def test_pictures() -> None:
    photo = np.full((300, 600, 3), 100, np.uint8)
    scores = np.zeros((300, 600), np.float32)
    scores[:, :300] = 1
    heat = np.asarray(heat_picture(photo, scores))
    assert heat.shape == (120, 240, 3)
    # 0.35 * 100 + 0.65 * 255 * inferno: (0.988, 0.998, 0.645) at 1, (0.001, 0, 0.014) at 0
    assert heat[60, 10] == pytest.approx([199, 200, 142], abs=1)
    assert heat[60, 230] == pytest.approx([35, 35, 37], abs=1)
    mask = np.zeros((6, 4), np.uint8)
    mask[0, 0], mask[5, 3] = 1, 255
    shown = label_picture(mask)
    assert np.array_equal(np.asarray(shown), mask)
    assert np.array_equal(np.asarray(shown.convert('RGB'))[0, 0], [128, 0, 0])
    assert data_uri(shown).startswith('data:image/png;base64,')
    assert data_uri(heat_picture(photo, scores)).startswith('data:image/jpeg;base64,')


def test_words_and_markup() -> None:
    said = describe(
        dict(flip=False, scales=[1.0], threshold='fixed', more=dict(a=1, b=None))
    )
    assert said == ['not mirrored', 'scales 1', 'threshold fixed', 'more: a 1, b none']
    assert (
        tag('p', 'x', class_='a"b', data_x=1.239, id=None)
        == '<p class="a&quot;b" data-x="1.24">x</p>'
    )
    assert [number(v) for v in (None, float('nan'), 3.14)] == ['–', '–', '3.1']
    assert [duration(s) for s in (9.94, 112, 3599.6, 7260)] == [
        '9.9 s',
        '1 min 52 s',
        '1 h 0 min',
        '2 h 1 min',
    ]
    made = table(['a', '#b'], [['x', '1']], 'c', below=['how'])
    assert '<th scope="col" class="num">b</th>' in made
    assert '<tr class="below"><td colspan="2">how</td></tr>' in made
