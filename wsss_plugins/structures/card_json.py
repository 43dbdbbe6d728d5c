"""Supervision cards as JSON: in records, beside metrics and in the headers of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from enum import Enum
from types import MappingProxyType
from typing import Any

from wsss_plugins.errors import DataError
from wsss_plugins.structures.card import SESSION, SupervisionCard
from wsss_plugins.structures.card_parts import (
    CRF,
    Code,
    CodeState,
    Method,
    Network,
    Split,
    Threshold,
)
from wsss_plugins.structures.card_text import short_form

PARTS: Mapping[str, type] = MappingProxyType(
    dict(networks=Network, thresholds=Threshold, crf=CRF, methods=Method, code=Code)
)


def card_to_json(card: SupervisionCard) -> dict[str, Any]:
    """The card as JSON knows it; with the short form and the uses of pixels to read."""
    content = asdict(card, dict_factory=_as_json)
    if not card.code:
        del content['code']
    return dict(short=short_form(card), **content, pixels=list(card.pixels))


def card_from_json(content: Any) -> SupervisionCard:
    """The card that :func:`card_to_json` wrote.

    Raises:
        DataError: The content is no supervision card.
    """
    try:
        content = {**content}
        names = [f.name for f in fields(SupervisionCard)]
        known = {name: content[name] for name in names if name in content}
        for name, kind in PARTS.items():
            known[name] = tuple(_part(kind, each) for each in known.get(name, ()))
        if known.get('split') is not None:
            known['split'] = Split(**known['split'])
        for name in ('scales', *SESSION):
            if known.get(name) is not None:
                known[name] = tuple(known[name])
        return SupervisionCard(**known)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise DataError(
            f'this is no supervision card ({error}): run the stage again that wrote it'
        ) from error


def _part(kind: type, content: Mapping[str, Any]) -> Any:
    given = dict(content)
    if given.get('split') is not None:
        given['split'] = Split(**given['split'])
    if kind is Code:
        given['state'] = CodeState(given['state'])
    if 'values' in given:
        given['values'] = tuple(given['values'])
    return kind(**given)


def _as_json(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    plain = {k: v.value if isinstance(v, Enum) else v for k, v in items}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}
