"""Lists the seed heads, refiners and CRFs of a stage for its card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wsss_plugins.refiners import DenseCRF, Refiner, RefinerChain
from wsss_plugins.seeds import SeedHead
from wsss_plugins.structures.card_parts import CRF, AppliedTo, Method


def methods_of(stage: str, parts: Iterable[object]) -> tuple[Method, ...]:
    """The class names of a stage's seed heads and refiners, as one entry of a card."""
    names = dict.fromkeys(type(part).__name__ for part in _all(parts))
    return (Method(stage, ', '.join(names)),) if names else ()


def crfs_of(stage: str, parts: Iterable[object], infers: bool) -> tuple[CRF, ...]:
    """The dense CRFs of a stage.

    Args:
        stage: Name of the stage.
        parts: Seed heads and refiners of the stage.
        infers: True if the stage runs a network, so that the CRFs refine its predictions;
            False if they refine labels made from seeds.
    """
    on = AppliedTo.PREDICTIONS if infers else AppliedTo.LABELS
    dense = (part for part in _all(parts) if isinstance(part, DenseCRF))
    return tuple(dict.fromkeys(CRF(stage, on, *part.described()) for part in dense))


def _all(parts: Iterable[object]) -> Iterator[object]:
    """Seed heads and refiners, each followed by the parts that it applies."""
    for part in parts:
        if isinstance(part, SeedHead):
            yield from (m for m in part.modules() if isinstance(m, SeedHead))
        elif isinstance(part, Refiner):
            if not isinstance(part, RefinerChain):
                yield part
            yield from _all(part.parts())
