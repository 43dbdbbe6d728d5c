"""Compares the supervision cards of results that are to stand in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wsss_plugins.structures.card import Split, SupervisionCard

NO_CARD = 'no card'
SIGNS = '†‡§¶'


@dataclass(frozen=True)
class Marks:
    """Footnote signs for the rows of a table that cannot be compared with most others."""

    signs: list[str]  # of each row; '' for rows that belong to the largest group
    notes: list[str]  # explanation of each sign


def mark_unlike(cards: Sequence[SupervisionCard | None]) -> Marks:
    """Marks the rows that cannot be compared with the largest group of rows.

    Rows of one group have cards that are equal in :meth:`SupervisionCard.key`. Of several
    largest groups the first counts. A row without a card is always marked.
    """
    groups: dict[object, list[int]] = {}
    for i, card in enumerate(cards):
        groups.setdefault(card and tuple(card.key().items()), []).append(i)
    lost = groups.pop(None, [])
    most = max(groups.values(), key=len, default=[])
    marks, like = Marks([''] * len(cards), []), cards[most[0]] if most else None
    others = [g for g in (*groups.values(), lost) if g and g is not most]
    for k, group in enumerate(others if len(cards) > 1 else []):
        sign = SIGNS[k % len(SIGNS)] * (1 + k // len(SIGNS))
        for i in group:
            marks.signs[i] = sign
        marks.notes.append(f'{sign} {explain_unlike(cards[group[0]], like)}')
    return marks


def explain_unlike(card: SupervisionCard | None, other: SupervisionCard | None) -> str:
    """Text of the differences between a card and another one."""
    if card is None or other is None:
        return f'{NO_CARD}: it is not recorded how this number was made'
    mine, theirs, words = card.key(), other.key(), []
    for name in card.unlike(other):
        if name == 'images':
            words.append(f'images: {_images(card.split)}, not {_images(other.split)}')
        elif name == 'training images':
            words.append('trained on other images')
        elif name != 'masks':
            words.append(f'{name}: {worded(mine[name])}, not {worded(theirs[name])}')
        elif mine['images'] == theirs['images']:
            words.append('masks: others' if mine[name] else 'masks: none read')
    return '; '.join(words)


def _images(split: Split | None) -> str:
    return f'{split} [{split.checksum[:6]}]' if split else 'none'


def worded(value: Any) -> str:
    """Text of a value of :meth:`SupervisionCard.key`."""
    if isinstance(value, frozenset):
        return ' + '.join(sorted(map(str, value))) or 'none'
    if isinstance(value, tuple):
        texts = (' '.join(v) if isinstance(v, tuple) else f'{v:g}' for v in value)
        return ', '.join(texts) or 'none'
    return {None: 'none', True: 'yes', False: 'no'}.get(value, str(value))
