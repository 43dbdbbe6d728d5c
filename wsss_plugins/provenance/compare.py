"""Compares the supervision cards of results that are to stand in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wsss_plugins.errors import UserError
from wsss_plugins.structures.card import SupervisionCard

NO_CARD = 'no card'
SIGNS = '†‡§¶'


@dataclass(frozen=True)
class Row:
    """The metrics of one stage, or their means over several runs.

    Attributes:
        title: Name of the result.
        metrics: Metrics by name; means if there are several runs.
        card: Supervision card of the metrics; None if there is none.
        spreads: Sample standard deviations by name; None for a single run.
    """

    title: str
    metrics: Mapping[str, float]
    card: SupervisionCard | None
    spreads: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Marks:
    """Footnote signs for the rows of a table that cannot be compared with most others.

    Attributes:
        signs: Sign of each row; '' for rows that belong to the largest group.
        notes: Explanation of each sign.
    """

    signs: list[str]
    notes: list[str]


def mark_unlike(cards: Sequence[SupervisionCard | None]) -> Marks:
    """Marks the rows that cannot be compared with the largest group of rows.

    Rows of one group have cards that are equal in :meth:`SupervisionCard.key`. Of several
    largest groups the first counts. A row without a card is always marked.
    """
    groups: list[list[int]] = []
    lost = [i for i, card in enumerate(cards) if card is None]
    for i, card in enumerate(cards):
        same = (g for g in groups if card and not card.unlike(_card(cards, g[0])))
        group = next(same, None)
        if group is not None:
            group.append(i)
        elif card is not None:
            groups.append([i])
    signs, notes = [''] * len(cards), []
    most = max(groups, key=len, default=[])
    others = [group for group in groups if group is not most]
    for k, group in enumerate([*others, *([lost] if lost else [])]):
        sign = SIGNS[k % len(SIGNS)] * (1 + k // len(SIGNS))
        for i in group:
            signs[i] = sign
        note = f'{NO_CARD}: it is not recorded how this number was made'
        if group is not lost:
            note = explain_unlike(_card(cards, group[0]), _card(cards, most[0]))
        notes.append(f'{sign} {note}')
    return Marks(signs, notes) if len(cards) > 1 else Marks([''] * len(cards), [])


def _card(cards: Sequence[SupervisionCard | None], index: int) -> SupervisionCard:
    card = cards[index]
    assert card is not None
    return card


def explain_unlike(card: SupervisionCard, other: SupervisionCard) -> str:
    """Text of the differences between a card and another one."""
    mine, theirs = card.key(), other.key()
    words = []
    for name in card.unlike(other):
        if name == 'images':
            words.append(f'images: {_images(card)}, not {_images(other)}')
        elif name == 'masks':
            read = 'others' if mine[name] else 'none read'
            words += [] if 'images' in card.unlike(other) else [f'masks: {read}']
        elif name == 'training images':
            words.append('trained on other images')
        else:
            words.append(f'{name}: {_word(mine[name])}, not {_word(theirs[name])}')
    return '; '.join(words)


def _images(card: SupervisionCard) -> str:
    if card.split is None:
        return 'none'
    return f'{card.split} [{card.split.checksum[:6]}]'


def _word(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: 'yes', False: 'no', None: 'none'}[value]
    if isinstance(value, frozenset):
        return ' + '.join(sorted(map(str, value))) or 'none'
    if isinstance(value, tuple):
        pairs = (' '.join(v) if isinstance(v, tuple) else f'{v:g}' for v in value)
        return ', '.join(pairs) or 'none'
    return str(value)


def refuse_unlike(rows: Sequence[Row], remedy: str) -> None:
    """Refuses a table whose rows cannot be compared.

    Args:
        rows: The rows of a table.
        remedy: End of the error message: what the user can do.

    Raises:
        UserError: The card of a row differs from most others in
            :meth:`SupervisionCard.key`, or a row has no card; the message names the first
            such row and the differences.
    """
    marks = mark_unlike([row.card for row in rows])
    wrong = [i for i, sign in enumerate(marks.signs) if sign]
    if wrong:
        sign = marks.signs[wrong[0]]
        why = next(n for n in marks.notes if n.startswith(f'{sign} '))
        like = next(
            (r.title for r, s in zip(rows, marks.signs, strict=True) if not s), ''
        )
        against = f" (compared with '{like}')" if like else ''
        raise UserError(
            f"{len(wrong)} of {len(rows)} rows are unlike the others, first '"
            f"{rows[wrong[0]].title}'{against}: {why[len(sign) + 1 :]}; {remedy}"
        )
