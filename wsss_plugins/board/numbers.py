"""The numbers of all runs, and the facts of their cards by which they are filtered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wsss_plugins.board.runs import DONE, Run
from wsss_plugins.provenance.compare import NO_CARD, worded
from wsss_plugins.report.rows import headline, measure_of
from wsss_plugins.structures.card import SupervisionCard

FACTS = {
    'images': 'images',
    'learnt_from': 'learnt from',
    'weights': 'initial weights',
    'threshold': 'threshold',
    'tags': 'tags at inference',
    'pixels': 'ground-truth pixels',
}
"""Facts by which the board is filtered: the key of the address, and the title."""


@dataclass(frozen=True)
class Number:
    """The main result of a stage.

    Attributes:
        run: Name of the run.
        stage: Name of the stage.
        measure: Which measure, in words.
        value: In percent; None if it is not defined.
        card: Its supervision card; None if it has none.
        finished: When the stage ended, ISO 8601.
    """

    run: str
    stage: str
    measure: str
    value: float | None
    card: SupervisionCard | None
    finished: str

    def facts(self) -> dict[str, str]:
        """The facts of its card, by the keys of :data:`FACTS`."""
        if self.card is None:
            return dict.fromkeys(FACTS, NO_CARD)
        key = self.card.key()
        words = {
            name: worded(key[title]) for name, title in FACTS.items() if title in key
        }
        pixels = 'used' if self.card.pixels else 'only to measure'
        return {name: words.get(name, pixels) for name in FACTS} | dict(
            images=str(self.card.split or 'none')
        )

    def fits(self, wanted: Mapping[str, str]) -> bool:
        """Whether its card has these facts."""
        facts = self.facts()
        return all(facts[name] == value for name, value in wanted.items())


def numbers_of(run: Run) -> list[Number]:
    """The main results of the stages of a run that are done, in the order they ended."""
    found = []
    for stage in run.stages:
        record = stage.record
        key = headline(record.metrics) if record and stage.state == DONE else ''
        if record is not None and key:
            value = record.metrics[key]
            found.append(
                Number(
                    run.name,
                    stage.name,
                    measure_of(record.metrics, key),
                    float(value) if isinstance(value, int | float) else None,
                    record.supervision,
                    record.finished,
                )
            )
    return found


def choices(numbers: Sequence[Number]) -> dict[str, list[str]]:
    """The values of each fact that occur, by the keys of :data:`FACTS`."""
    facts = [number.facts() for number in numbers]
    return {name: sorted({each[name] for each in facts}) for name in FACTS}


def chosen(given: Mapping[str, str]) -> dict[str, str]:
    """The facts that an address asks for; an empty one asks for nothing."""
    return {name: given[name] for name in FACTS if given.get(name)}
