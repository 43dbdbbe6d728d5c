"""Which seed heads, refiners and CRFs a stage has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wsss_plugins.config import find_type
from wsss_plugins.engine.stage import Stage
from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import DenseCRF, Refiner, RefinerChain
from wsss_plugins.refiners.crf_presets import PRESETS
from wsss_plugins.registry import REFINERS, SEED_HEADS, build_as
from wsss_plugins.seeds import SeedHead
from wsss_plugins.structures.card_parts import CRF, Method


def methods_of(stage: Stage) -> tuple[Method, ...]:
    """Seed heads and refiners of a stage, by name."""
    names = [type(part).__name__ for part in _parts(vars(stage), {})]
    what = ', '.join(dict.fromkeys(names))
    return (Method(stage.name, what),) if what else ()


def crfs_of(stage: Stage, infers: bool) -> tuple[CRF, ...]:
    """The dense CRFs of a stage.

    Args:
        stage: The stage.
        infers: Whether it runs a network itself: they are then on its predictions.
    """
    on = 'predictions' if infers else 'labels'
    found = [
        CRF(stage.name, on, *_settings(part))
        for part in _parts(vars(stage), {})
        if isinstance(part, DenseCRF)
    ]
    return tuple(dict.fromkeys(found))


def _parts(value: Any, seen: dict[int, Any]) -> Iterator[Any]:
    """Every seed head and refiner, built or as a config, among a stage's attributes."""
    if id(value) in seen:
        return
    seen[id(value)] = value  # kept, for the id of what is gone is given again
    if isinstance(value, RefinerChain):
        yield from _parts(value.refiners, seen)
    elif isinstance(value, Refiner):
        yield value
        yield from _parts(vars(value), seen)  # it may apply others
    elif isinstance(value, SeedHead):
        yield value
        yield from _parts(dict(value.named_children()), seen)  # as above
    elif isinstance(value, Mapping) and 'type' in value:
        kind = _class_of(value['type'])
        if isinstance(kind, type) and issubclass(kind, Refiner):
            yield from _parts(build_as(REFINERS, value, Refiner), seen)
        elif isinstance(kind, type) and issubclass(kind, SeedHead):
            yield build_as(SEED_HEADS, value, SeedHead)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _parts(each, seen)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _parts(each, seen)
    elif isinstance(value, Stage):
        yield from _parts(vars(value), seen)


def _class_of(given: Any) -> Any:
    try:
        return find_type(given)
    except ConfigError:  # some dict of the stage's own
        return None


def _settings(crf: DenseCRF) -> tuple[str, str]:
    """Name of the preset that the settings began with, and what was changed."""
    given = vars(crf.settings)
    named = [name for name, each in PRESETS.items() if each.source == given['source']]
    published = vars(PRESETS[named[0]]) if named else {}
    changed = {k: v for k, v in given.items() if published.get(k) != v}
    if crf.reference_size is not None:
        changed['reference_size'] = crf.reference_size
    if crf.compatibility is not None:
        changed['compatibility'] = 'a matrix'
    words = ', '.join(f'{key} {_number(value)}' for key, value in changed.items())
    return named[0] if named else 'none', words


def _number(value: Any) -> str:
    if isinstance(value, list | tuple):
        return '/'.join(map(_number, value))
    return f'{value:g}' if isinstance(value, int | float) else str(value)
