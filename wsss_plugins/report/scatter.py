"""A scatter plot of two numbers, drawn as SVG; colours come from the report's style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from wsss_plugins.report.markup import number, tag

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 10, 36
MARKERS = (
    'M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z',
    'M-4 -4H4V4H-4Z',
    'M0 -5.5L5.5 0L0 5.5L-5.5 0Z',
    'M0 -5L5 4H-5Z',
)
COLOURS = 7
TICKS = 4


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot.

    Attributes:
        name: What it stands for, shown when the pointer rests on it.
        x: Finite.
        y: Finite.
    """

    name: str
    x: float
    y: float


def scatter_chart(groups: Mapping[str, Sequence[Point]], x: str, y: str) -> str:
    """A scatter plot; groups are told apart by colour and marker, and named below.

    Args:
        groups: Points by the name of their group.
        x: Title of the horizontal axis.
        y: Title of the vertical axis.

    Returns:
        A ``figure``; empty without any point.
    """
    points = [point for group in groups.values() for point in group]
    if not points:
        return ''
    across = _span([point.x for point in points])
    up = _span([point.y for point in points])
    drawn, keys = [], []
    for i, (name, group) in enumerate(groups.items()):
        kind = dict(d=MARKERS[i % len(MARKERS)], class_=f'mark s{i % COLOURS}')
        for point in group:
            text = f'{point.name}: {x} {number(point.x)}, {y} {number(point.y)}'
            place = f'translate({_place(point.x, across, True)} {_place(point.y, up)})'
            title = tag('title', escape(text))
            drawn.append(tag('path', title, transform=place, **kind))
        mark = tag('path', transform='translate(7 7)', **kind)
        sample = tag('svg', mark, viewBox='0 0 14 14', class_='key', aria_hidden='true')
        keys.append(tag('li', sample, tag('span', escape(name))))
    summary = f'{y} against {x}, {len(points)} points.'
    chart = tag(
        'svg',
        tag('title', escape(summary)),
        _frame(across, up, x, y),
        *drawn,
        xmlns='http://www.w3.org/2000/svg',
        viewBox=f'0 0 {WIDTH} {HEIGHT}',
        role='img',
        aria_label=summary,
    )
    legend = tag('ul', *keys, class_='legend') if len(groups) > 1 else ''
    return tag('figure', chart, legend, class_='chart')


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value of an axis, with a margin."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _place(value: float, span: tuple[float, float], across: bool = False) -> str:
    """Coordinate of a value, of the horizontal axis with ``across``."""
    share = (value - span[0]) / (span[1] - span[0])
    if across:
        return f'{LEFT + share * (WIDTH - LEFT - RIGHT):.1f}'
    return f'{HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM):.1f}'


def _frame(across: tuple[float, float], up: tuple[float, float], x: str, y: str) -> str:
    """Ticks and titles of both axes."""
    foot = HEIGHT - BOTTOM
    parts = [tag('path', d=f'M{LEFT} {TOP}V{foot}H{WIDTH - RIGHT}', class_='axis')]
    for value in np.linspace(*across, TICKS + 2)[1:-1]:
        place = _place(float(value), across, True)
        parts.append(tag('path', d=f'M{place} {foot}v4', class_='axis'))
        text = number(float(value))
        parts.append(tag('text', text, x=place, y=foot + 15, text_anchor='middle'))
    for value in np.linspace(*up, TICKS + 2)[1:-1]:
        place = _place(float(value), up)
        parts.append(tag('path', d=f'M{LEFT} {place}H{WIDTH - RIGHT}', class_='grid'))
        text = number(float(value))
        parts.append(tag('text', text, x=LEFT - 4, y=place, text_anchor='end'))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(tag('text', escape(x), x=middle, y=HEIGHT - 5, text_anchor='middle'))
    turned = f'translate(10 {(TOP + foot) / 2:.0f}) rotate(-90)'
    parts.append(tag('text', escape(y), transform=turned, text_anchor='middle'))
    return ''.join(parts)
