"""Collects the numbers of a grid: mean and spread of each cell, and reasons for gaps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from wsss_plugins.engine.record import StageRecord
from wsss_plugins.experiment.matrix.plan import Choice, Plan
from wsss_plugins.experiment.matrix.wanted import BEST
from wsss_plugins.provenance.compare import SIGNS, mark_unlike
from wsss_plugins.report.comparison import refuse_unlike
from wsss_plugins.report.rows import HEADLINES, Row, headline
from wsss_plugins.structures.card import SupervisionCard, merge_runs
from wsss_plugins.structures.card_text import short_form

REMEDY = (
    'leave them out (--classifiers, --heads, --refiners), or give --mix to have them in '
    'one table, where they are marked'
)


@dataclass(frozen=True)
class Entry:
    """The content of one cell of the table.

    Attributes:
        runs: mIoU in percent by random seed; empty if no run is done.
        card: Supervision card of the mean; None if no run is done or a run has no card.
        seconds: Mean duration of the cell's last two stages, which make maps and measure
            them, or refine and measure labels; None if no run is done.
        refused: Why the seed head refuses the classifier; '' if it accepts it.
        failed: Why a run failed, by random seed.
    """

    runs: Mapping[int, float] = field(default_factory=dict)
    card: SupervisionCard | None = None
    seconds: float | None = None
    refused: str = ''
    failed: Mapping[int, str] = field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        """Mean over the random seeds that are done; None if none is."""
        return statistics.mean(self.runs.values()) if self.runs else None

    @property
    def spread(self) -> float | None:
        """Sample standard deviation; None for fewer than two runs."""
        return statistics.stdev(self.runs.values()) if len(self.runs) > 1 else None


class Table:
    """The table of a grid.

    Args:
        plan: The stages of the grid.
        records: Records of the stages that are done, by random seed and name.
        refused: Why a stage of maps was left out, by name.
        failed: Why a stage failed, by random seed and name.

    Attributes:
        entries: The cells by row and column, in order.

    Raises:
        UserError: The cards of the runs of one cell differ in more than seed, machine,
            versions and code.
    """

    def __init__(
        self,
        plan: Plan,
        records: Mapping[int, Mapping[str, StageRecord]],
        refused: Mapping[str, str],
        failed: Mapping[int, Mapping[str, str]],
    ) -> None:
        self.plan = plan
        self.records = records
        self.refused, self.failed = refused, failed
        self.entries = {key: self._entry(*key) for key in plan.cells}

    @property
    def seeds(self) -> list[int]:
        """The random seeds of the grid."""
        return list(self.plan.matrix.seeds)

    @property
    def all_records(self) -> list[StageRecord]:
        """Every record, in the order of seeds and stages."""
        return [r for of_seed in self.records.values() for r in of_seed.values()]

    @property
    def missing(self) -> int:
        """Number of runs of cells that are not done, and were neither refused nor failed."""
        return sum(
            seed not in entry.runs and seed not in entry.failed
            for entry in self.entries.values()
            if not entry.refused
            for seed in self.seeds
        )

    def mean_seconds(self) -> float:
        """Duration of all stages of a random seed, as the mean over seeds with records."""
        sums = [sum(r.seconds for r in of.values()) for of in self.records.values()]
        sums = [total for total in sums if total]
        return statistics.mean(sums) if sums else 0.0

    def trained(self, classifier: str) -> tuple[str, dict[int, float]]:
        """Metric of a classifier's training: its name, and its value by random seed."""
        stages = {
            c.stages[0]
            for (o, _), c in self.plan.cells.items()
            if o.classifier == classifier
        }
        (stage,) = stages
        found = {s: r[stage].metrics for s, r in self.records.items() if stage in r}
        keys = [headline(metrics) for metrics in found.values()]
        key = next(iter(keys), '')
        runs = {s: float(m[key]) for s, m in found.items() if key and key in m}
        return HEADLINES.get(key.rsplit('/', 1)[-1], key), runs

    def is_best(self, choice: Choice, column: str) -> bool:
        """Whether the mean is the highest of the classifier's heads in the column."""
        rivals = [
            entry.mean
            for (other, name), entry in self.entries.items()
            if name == column
            and other.classifier == choice.classifier
            and entry.mean is not None
        ]
        mean = self.entries[choice, column].mean
        return mean is not None and len(rivals) > 1 and mean == max(rivals)

    def best_of(self, classifier: str) -> tuple[Choice, str] | None:
        """Row and refiner with the highest mean of pseudo labels; None if there is none."""
        found = {
            key: entry.mean
            for key, entry in self.entries.items()
            if key[0].classifier == classifier
            and key[1] != BEST
            and entry.mean is not None
        }
        return max(found, key=lambda key: found[key], default=None)

    def refuse_unlike(self) -> None:
        """Refuses a column whose numbers cannot be compared.

        Raises:
            UserError: The card of a number differs from most others of its column in
                :meth:`SupervisionCard.key`; the message names the first and why.
        """
        for column in self.plan.columns:
            refuse_unlike(self._rows(column), REMEDY)

    @cached_property
    def marks(self) -> dict[tuple[Choice, str], str]:
        """Differences of numbers that cannot be compared with most of their column."""
        found: dict[tuple[Choice, str], str] = {}
        for column in self.plan.columns:
            keys = self._filled(column)
            marks = mark_unlike([self.entries[key].card for key in keys])
            notes = dict(note.split(' ', 1) for note in marks.notes)
            found |= {k: notes[s] for k, s in zip(keys, marks.signs, strict=True) if s}
        return found

    @cached_property
    def signs(self) -> dict[str, str]:
        """Footnote sign for each text in :attr:`marks`."""
        texts = dict.fromkeys(self.marks.values())
        return {
            text: SIGNS[k % len(SIGNS)] * (1 + k // len(SIGNS))
            for k, text in enumerate(texts)
        }

    def cards(self, column: str) -> list[SupervisionCard | None]:
        """Cards of a column with different short forms; cards of marked numbers come last."""
        found: dict[str | None, SupervisionCard | None] = {}
        for key in sorted(self._filled(column), key=lambda key: key in self.marks):
            card = self.entries[key].card
            found.setdefault(None if card is None else short_form(card), card)
        return list(found.values())

    def absent(self) -> list[tuple[str, str]]:
        """Rows that were refused and stages that failed, grouped by reason.

        Returns:
            Pairs of the names of rows or stages and their common reason.
        """
        found = [
            (f'{choice.classifier}, {choice.head}', self.refused[name])
            for choice, name in self.plan.maps.items()
            if name in self.refused
        ]
        for seed, of_seed in self.failed.items():
            found += [
                (f'stage {name}, seed {seed}', f'failed: {reason}')
                for name, reason in of_seed.items()
            ]
        texts: dict[str, list[str]] = {}
        for what, reason in found:
            texts.setdefault(reason, []).append(what)
        return [('; '.join(names), text) for text, names in texts.items()]

    def _filled(self, column: str) -> list[tuple[Choice, str]]:
        return [key for key, e in self.entries.items() if key[1] == column and e.runs]

    def _rows(self, column: str) -> list[Row]:
        return [
            Row(f'{c.classifier} {c.head} {column}', {}, self.entries[c, column].card)
            for c, _ in self._filled(column)
        ]

    def _entry(self, choice: Choice, column: str) -> Entry:
        cell = self.plan.cells[choice, column]
        refused = self.refused.get(self.plan.maps[choice], '')
        failed = {
            seed: next(reasons[s] for s in cell.stages if s in reasons)
            for seed, reasons in self.failed.items()
            if any(s in reasons for s in cell.stages) and not refused
        }
        done = {s: r[cell.score] for s, r in self.records.items() if cell.score in r}
        if refused or not done:
            return Entry(refused=refused, failed=failed)
        cards = [r.supervision for r in done.values()]
        known: Sequence[SupervisionCard] = [card for card in cards if card is not None]
        return Entry(
            runs={s: float(r.metrics[cell.metric]) for s, r in done.items()},
            card=merge_runs(known) if len(known) == len(cards) else None,
            seconds=statistics.mean(
                sum(self.records[s][name].seconds for name in cell.stages[-2:])
                for s in done
            ),
            failed=failed,
        )
