"""Supervision cards in the report: one line each, which opens to the full card."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from wsss_plugins.provenance.compare import NO_CARD
from wsss_plugins.report.markup import tag
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_text import LEGEND, long_form, short_form


def card_line(card: SupervisionCard | None) -> str:
    """The card in short; it opens to the long form."""
    if card is None:
        return tag('p', NO_CARD, class_='made')
    summary = tag('summary', escape(short_form(card)))
    return tag('details', summary, _list(long_form(card)), class_='made')


def legend() -> str:
    """Explanation of the abbreviations."""
    summary = tag('summary', 'What the lines below the numbers mean')
    return tag('details', summary, _list(LEGEND.items()), class_='legends')


def _list(rows: Iterable[tuple[str, str]]) -> str:
    items = (tag('dt', escape(a)) + tag('dd', escape(b)) for a, b in rows)
    return tag('dl', *items)
