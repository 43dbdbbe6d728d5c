"""Supervision cards as JSON, for records, files of metrics and headers of weights."""

from __future__ import annotations

from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from wsss_plugins.errors import DataError
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_parts import Said, in_words, read, supervision_in
from wsss_plugins.structures.card_text import short_form


def card_to_json(card: SupervisionCard) -> dict[str, Any]:
    """Turns a card into JSON; the short form and the uses of pixels are added to read."""
    content = _plain(SupervisionCard, card)
    if not card.code:
        del content['code']
    return dict(short=short_form(card), **content, pixels=list(card.pixels))


def card_from_json(content: Any) -> SupervisionCard:
    """Reads a card that this version or an earlier one wrote by :func:`card_to_json`.

    Raises:
        DataError: ``content`` is no dict, lacks a field, or has a value of a wrong type.
    """
    try:
        known = {k: v for k, v in {**content}.items() if k in _hints(SupervisionCard)}
        return _typed(SupervisionCard, known)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise DataError(
            f'this is no supervision card ({error}): run the stage again that wrote it'
        ) from error


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _plain(kind: Any, value: Any) -> Any:
    """Turns ``value`` of type ``kind`` into JSON."""
    origin, inner = get_origin(kind), get_args(kind)
    if value is None:
        return None
    if origin in (Union, UnionType):
        return _plain(inner[0], value)
    if origin is frozenset:
        return in_words(value)
    if origin is tuple:
        parts = [_plain(inner[0], each) for each in value]
        return ', '.join(parts) if get_origin(inner[0]) is Said else parts
    if origin is Said:
        return str(value)
    if hasattr(kind, '__dataclass_fields__'):
        return {k: _plain(t, getattr(value, k)) for k, t in _hints(kind).items()}
    return value.value if isinstance(value, Enum) else value


def _typed(kind: Any, value: Any) -> Any:
    """Turns JSON of :func:`_plain` back into a value of type ``kind``."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else _typed(inner[0], value)
    if origin is frozenset:
        return supervision_in(value)
    if origin is tuple:
        if get_origin(inner[0]) is Said:
            value = value.split(', ')
        return tuple(_typed(inner[0], each) for each in value)
    if origin is Said:
        return read(inner[0], value)
    if hasattr(kind, '__dataclass_fields__'):
        hints = _hints(kind)
        return kind(**{k: _typed(hints.get(k), v) for k, v in {**value}.items()})
    return kind(value) if isinstance(kind, type) and issubclass(kind, Enum) else value
