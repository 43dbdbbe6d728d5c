"""The seed heads, refiners and CRFs of a stage, as a card names them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wsss_plugins.refiners import DenseCRF, Refiner, RefinerChain
from wsss_plugins.seeds import SeedHead
from wsss_plugins.structures.card_parts import CRF, AppliedTo, Method


def methods_of(stage: str, parts: Iterable[object]) -> tuple[Method, ...]:
    """Seed heads and refiners of a stage, by name."""
    names = dict.fromkeys(type(part).__name__ for part in _all(parts))
    return (Method(stage, ', '.join(names)),) if names else ()


def crfs_of(stage: str, parts: Iterable[object], infers: bool) -> tuple[CRF, ...]:
    """The dense CRFs of a stage.

    Args:
        stage: Its name.
        parts: Its parts.
        infers: Whether it runs a network itself: they are then on its predictions.
    """
    on = AppliedTo.PREDICTIONS if infers else AppliedTo.LABELS
    dense = (part for part in _all(parts) if isinstance(part, DenseCRF))
    return tuple(dict.fromkeys(CRF(stage, on, *part.described()) for part in dense))


def _all(parts: Iterable[object]) -> Iterator[object]:
    """Seed heads and refiners, each followed by those that it applies itself."""
    for part in parts:
        if isinstance(part, SeedHead):
            yield from (m for m in part.modules() if isinstance(m, SeedHead))
        elif isinstance(part, Refiner):
            if not isinstance(part, RefinerChain):
                yield part
            yield from _all(part.parts())
