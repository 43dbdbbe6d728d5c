"""Rows of results, and whether they may stand in one table."""

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
    """The numbers of one stage, or their means over several runs.

    Attributes:
        title: Whose they are.
        metrics: Numbers by name; of several runs, their mean.
        card: How they were made.
        spreads: Sample standard deviations, where there are several runs.
    """

    title: str
    metrics: Mapping[str, float]
    card: SupervisionCard | None
    spreads: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Marks:
    """Which rows of a table are not like most of them.

    Attributes:
        signs: One for each row; empty for those that are like most.
        notes: What each sign means.
    """

    signs: list[str]
    notes: list[str]


def mark_unlike(cards: Sequence[SupervisionCard | None]) -> Marks:
    """Marks the cards that are unlike those of the largest group, the first of several.

    Cards of one group differ in nothing of :meth:`SupervisionCard.key`. Without a card a
    row is unlike all others.
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
        note = f'{NO_CARD}: nobody wrote down how this was made'
        if group is not lost:
            note = explain_unlike(_card(cards, group[0]), _card(cards, most[0]))
        notes.append(f'{sign} {note}')
    return Marks(signs, notes) if len(cards) > 1 else Marks([''] * len(cards), [])


def _card(cards: Sequence[SupervisionCard | None], index: int) -> SupervisionCard:
    card = cards[index]
    assert card is not None
    return card


def explain_unlike(card: SupervisionCard, other: SupervisionCard) -> str:
    """In which ways a card is unlike another one, in words."""
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
    """Refuses rows that were not made alike.

    Args:
        rows: The rows of a table.
        remedy: What to do about it.

    Raises:
        UserError: Names the first that is unlike most, and why.
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
