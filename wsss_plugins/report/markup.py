"""HTML and SVG as strings: elements, lists and tables, everything escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape

VOID = frozenset({'img', 'wbr'})
"""Elements without an end tag."""


def tag(name: str, /, *content: str, **attributes: object) -> str:
    """One element.

    Args:
        name: Such as ``'p'``.
        content: HTML, put in as it is; :func:`html.escape` plain text first.
        attributes: Escaped here. ``class_`` becomes ``class``, ``text_anchor``
            ``text-anchor``; one that is None is left out.

    Returns:
        HTML.
    """
    given = ''.join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return f'<{name}{given}>'
    return f'<{name}{given}>{"".join(content)}</{name}>'


def _plain(value: object) -> str:
    """Coordinates need two digits, no more."""
    return f'{round(value, 2):g}' if isinstance(value, float) else str(value)


def number(value: float | None, digits: int = 1) -> str:
    """A number for people; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return '–'
    return f'{value:.{digits}f}'


def duration(seconds: float) -> str:
    """Such as ``'1 min 52 s'``."""
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f'{minutes} min {rest} s'
    return f'{minutes // 60} h {minutes % 60} min'


def words(name: str) -> str:
    """A name, escaped, that may break before each of its capitals."""
    return re.sub(r'(?<=[a-z])(?=[A-Z])', tag('wbr'), escape(name))


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str,
    below: Sequence[str] = (),
) -> str:
    """A table in a box of its own that scrolls when the screen is narrow.

    Args:
        head: Titles of the columns, plain text; one that begins with ``#`` is of numbers.
        rows: Cells as HTML; the first of each row is its heading.
        caption: Plain text.
        below: HTML to put under each row, over its whole width.

    Returns:
        HTML.
    """
    kinds = ['num' if title.startswith('#') else None for title in head]
    titles = ''.join(
        tag('th', escape(title.lstrip('#')), scope='col', class_=kind)
        for title, kind in zip(head, kinds, strict=True)
    )
    body = ''
    for i, (first, *others) in enumerate(rows):
        cells = tag('th', first, scope='row')
        for cell, kind in zip(others, kinds[1:], strict=True):
            cells += tag('td', cell, class_=kind)
        body += tag('tr', cells)
        if below:
            body += tag('tr', tag('td', below[i], colspan=len(head)), class_='below')
    content = tag('caption', tag('span', escape(caption)))
    content += tag('thead', tag('tr', titles)) + tag('tbody', body)
    return tag(
        'div',
        tag('table', content),
        class_='scroll',
        tabindex='0',
        role='region',
        aria_label=caption,
    )


def large_numbers(numbers: Iterable[Sequence[str]]) -> str:
    """Numbers in large print, side by side.

    Args:
        numbers: Of each its text, what it is and how it was measured, plain texts; and
            perhaps a text that is shown when the pointer rests on it.
    """
    tiles = ''.join(
        tag(
            'div',
            tag('b', escape(value)),
            tag('span', escape(what)),
            tag('small', escape(measure)),
            title=more[0] if more else None,
        )
        for value, what, measure, *more in numbers
    )
    return tag('div', tiles, class_='main')


def section(anchor: str, title: str, *content: str) -> str:
    """A section with its heading; empty when it has no content."""
    if not any(content):
        return ''
    return tag('section', tag('h2', escape(title)), *content, id=anchor)
