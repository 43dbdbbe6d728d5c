"""Curves and bars, drawn as SVG; colours come from the report's style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from wsss_plugins.report.markup import number, tag

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 34, 10, 10, 34
"""Margins of the plots; everything is in units of the SVG, about a pixel on a phone."""

COLOURS = 7
DASHES = (None, '7 3', '2 2', '9 3 2 3', '4 2')
MARKERS = (
    'M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z',
    'M-4 -4H4V4H-4Z',
    'M0 -5.5L5.5 0L0 5.5L-5.5 0Z',
    'M0 -5L5 4H-5Z',
)
STEPS = tuple(factor * 10.0**power for power in range(-4, 8) for factor in (1, 2, 5))
BAR, GAP = 10, 9
ROWS_OF_A_CHART = 20


@dataclass(frozen=True)
class Curve:
    """mIoU at every threshold.

    Attributes:
        name: What it is of.
        thresholds: Increasing.
        values: In percent, one for each threshold.
    """

    name: str
    thresholds: Sequence[float]
    values: Sequence[float]

    @property
    def best(self) -> tuple[float, float]:
        """Threshold and value of the highest point, the first one on ties."""
        at = int(np.argmax(self.values))
        return self.thresholds[at], self.values[at]


@dataclass(frozen=True)
class Axes:
    """From thresholds and values to coordinates.

    Attributes:
        low: Threshold at the left end.
        high: Threshold at the right end.
        top: Value at the upper end; 0 is at the lower.
    """

    low: float
    high: float
    top: float

    def x(self, threshold: float) -> float:
        """Where a threshold is."""
        share = (threshold - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Where a value is."""
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def axes_of(curves: Sequence[Curve], percent: bool = True) -> Axes:
    """Axes that hold all curves and end at round numbers.

    Args:
        curves: At least one.
        percent: Whether the values are percentages, whose axis ends at a ten.
    """
    ends = [t for curve in curves for t in (curve.thresholds[0], curve.thresholds[-1])]
    step = _step(max(ends) - min(ends))
    low, high = _floor(min(ends), step), -_floor(-max(ends), step)
    highest = max(curve.best[1] for curve in curves)
    if percent:
        top = max(10.0, float(np.ceil(highest / 10) * 10))
    else:
        top = -_floor(-highest, _step(highest)) if highest > 0 else 1.0
    return Axes(low, high if high > low else low + step, top)


def _step(span: float, most: int = 6) -> float:
    """A round distance of ticks of which at most ``most`` cover ``span``."""
    return next((s for s in STEPS if span / s <= most), span / most)


def _floor(value: float, step: float) -> float:
    return float(np.floor(round(value / step, 6)) * step)


def curve_chart(curves: Sequence[Curve]) -> str:
    """MIoU against the threshold, one line a curve, the best points marked, a legend.

    Args:
        curves: At least one; told apart by colour, dashes and marker.

    Returns:
        A ``figure``.
    """
    axes = axes_of(curves)
    best = max(curves, key=lambda curve: curve.best[1])
    summary = (
        f'mIoU against the background threshold. The highest of {len(curves)} is '
        f'{best.name}: {number(best.best[1])} at {best.best[0]:.2f}.'
    )
    drawn = ''.join(_line(axes, curve, i) for i, curve in enumerate(curves))
    drawn += ''.join(_marker(axes, curve, i) for i, curve in enumerate(curves))
    frame = _frame(axes, 'background threshold', 'mIoU (%)')
    chart = _svg(HEIGHT, summary, frame + drawn)
    legend = ''.join(_key(curve, i) for i, curve in enumerate(curves))
    caption = tag('figcaption', 'The mark on each line is its best threshold.')
    return tag(
        'figure',
        chart,
        tag('div', tag('ul', legend, class_='legend'), caption),
        class_='chart curves',
    )


def line_chart(curves: Sequence[Curve], x: str, y: str) -> str:
    """Values that grow with time, one line a curve, and the last value of each.

    Args:
        curves: At least one, each with at least one place.
        x: Title of the horizontal axis.
        y: Title of the vertical axis.

    Returns:
        A ``figure``.
    """
    axes = axes_of(curves, percent=False)
    last = ', '.join(f'{c.name} {c.values[-1]:.4g}' for c in curves)
    drawn = ''.join(_line(axes, curve, i) for i, curve in enumerate(curves))
    chart = _svg(HEIGHT, f'{y} against {x}: {last}.', _frame(axes, x, y) + drawn)
    keys = ''.join(
        tag('li', _sample(i), tag('b', escape(c.name)), f'{c.values[-1]:.4g}')
        for i, c in enumerate(curves)
    )
    return tag('figure', chart, tag('ul', keys, class_='legend'), class_='chart')


def _line(axes: Axes, curve: Curve, index: int) -> str:
    points = ' '.join(
        f'{axes.x(t):.1f},{axes.y(v):.1f}'
        for t, v in zip(curve.thresholds, curve.values, strict=True)
    )
    dash = DASHES[index % len(DASHES)]
    title = tag('title', escape(curve.name))
    kind = f'line s{index % COLOURS}'
    return tag('polyline', title, points=points, class_=kind, stroke_dasharray=dash)


def _marker(axes: Axes, curve: Curve, index: int) -> str:
    threshold, value = curve.best
    title = f'{curve.name}: {number(value)} at {threshold:.2f}'
    return tag(
        'path',
        tag('title', escape(title)),
        d=MARKERS[index % len(MARKERS)],
        transform=f'translate({axes.x(threshold):.2f} {axes.y(value):.2f})',
        class_=f'mark s{index % COLOURS}',
    )


def _key(curve: Curve, index: int) -> str:
    """The legend's entry of one curve with a mark."""
    mark = tag(
        'path',
        d=MARKERS[index % len(MARKERS)],
        class_=f'mark s{index % COLOURS}',
        transform='translate(17 7)',
    )
    threshold, value = curve.best
    text = tag('b', escape(curve.name))
    words = tag('span', f'{text} {number(value)} at {threshold:.2f}')
    return tag('li', _sample(index, mark), words)


def _sample(index: int, mark: str = '') -> str:
    """A piece of one curve for the legend."""
    line = tag(
        'path',
        d='M1 7H33',
        class_=f'line s{index % COLOURS}',
        stroke_dasharray=DASHES[index % len(DASHES)],
    )
    return tag('svg', line, mark, viewBox='0 0 34 14', class_='key', aria_hidden='true')


def _frame(axes: Axes, x_title: str, y_title: str) -> str:
    """Grid lines, ticks and titles of both axes."""
    parts, foot = [], HEIGHT - BOTTOM
    step = _step(axes.top)
    for value in np.arange(0, axes.top + step / 2, step):
        y = axes.y(float(value))
        parts.append(tag('path', d=f'M{LEFT} {y:.1f}H{WIDTH - RIGHT}', class_='grid'))
        parts.append(_text(LEFT - 5, y + 3.5, f'{value:.4g}', 'end'))
    step = _step(axes.high - axes.low)
    for threshold in np.arange(axes.low, axes.high + step / 2, step):
        x = axes.x(float(threshold))
        parts.append(tag('path', d=f'M{x:.1f} {foot}v4', class_='axis'))
        label = f'{threshold:.4g}'
        fits = x + 3 * len(label) < WIDTH
        parts.append(_text(x, foot + 14, label, 'middle' if fits else 'end'))
    parts.append(tag('path', d=f'M{LEFT} {foot}H{WIDTH - RIGHT}', class_='axis'))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 5, x_title, 'middle'))
    parts.append(
        tag(
            'text',
            escape(y_title),
            transform=f'translate(9 {(TOP + foot) / 2:.0f}) rotate(-90)',
            text_anchor='middle',
        )
    )
    return ''.join(parts)


def bar_charts(values: Mapping[str, Mapping[str, float | None]]) -> str:
    """Horizontal bars of each class, grouped; several charts when there are many classes.

    Args:
        values: Percent by class of each series, None where there is none. Classes come
            in the order of the last series, highest first.

    Returns:
        ``figure`` elements; empty without any value.
    """
    order = {
        name: [series.get(name) for series in reversed(list(values.values()))]
        for series in values.values()
        for name in series
    }
    order = {name: v for name, v in order.items() if any(x is not None for x in v)}
    names = sorted(order, key=lambda n: [-1 if x is None else x for x in order[n]])
    names.reverse()
    keys = ''.join(
        tag('li', tag('span', class_=f'swatch b{i}'), escape(series))
        for i, series in enumerate(values)
    )
    count = -(-len(names) // ROWS_OF_A_CHART)
    figures = ''.join(
        tag('figure', _bar_chart([str(n) for n in part], values), class_='chart')
        for part in np.array_split(names, count or 1)
        if len(part)
    )
    if not figures:
        return ''
    legend = tag('ul', keys, class_='legend')
    return legend + tag('div', figures, class_='charts')


def _bar_chart(
    names: Sequence[str], values: Mapping[str, Mapping[str, float | None]]
) -> str:
    left, right = 92, 30
    row = BAR * len(values) + GAP
    parts = []
    for i, name in enumerate(names):
        top = i * row + GAP / 2
        middle = top + BAR * len(values) / 2 + 3.5
        parts.append(_text(left - 6, middle, _short(name), 'end', title=name))
        for j, (series, of) in enumerate(values.items()):
            value, y = of.get(name), top + j * BAR
            width = (value or 0) / 100 * (WIDTH - left - right)
            title = tag('title', escape(f'{name}, {series}: {number(value)}'))
            parts.append(
                tag(
                    'rect',
                    title,
                    x=left,
                    y=y + 0.5,
                    width=width,
                    height=BAR - 1,
                    class_=f'b{j}',
                )
            )
            parts.append(
                _text(left + width + 3, y + 8, number(value), 'start', kind='value')
            )
    height = len(names) * row + GAP
    parts.append(tag('path', d=f'M{left} 0V{height}', class_='axis'))
    summary = f'IoU of {len(names)} classes, from {names[0]} to {names[-1]}.'
    return _svg(height, summary, ''.join(parts))


def _short(name: str, most: int = 15) -> str:
    return name if len(name) <= most else f'{name[: most - 1]}…'


def _text(
    x: float, y: float, text: str, anchor: str, kind: str | None = None, title: str = ''
) -> str:
    content = escape(text) + (tag('title', escape(title)) if title else '')
    return tag('text', content, x=x, y=y, text_anchor=anchor, class_=kind)


def _svg(height: float, summary: str, content: str) -> str:
    return tag(
        'svg',
        tag('title', escape(summary)),
        content,
        xmlns='http://www.w3.org/2000/svg',
        viewBox=f'0 0 {WIDTH} {height:g}',
        role='img',
        aria_label=summary,
    )
