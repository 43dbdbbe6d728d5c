"""Collects the numbers of a grid: mean and spread of each cell, and reasons for gaps."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from wsss_plugins.engine.record import StageRecord
from wsss_plugins.experiment.matrix.faithfulness import MEASURES
from wsss_plugins.experiment.matrix.plan import Cell, Choice, Plan
from wsss_plugins.provenance.compare import SIGNS, mark_unlike
from wsss_plugins.report.comparison import refuse_unlike
from wsss_plugins.report.rows import HEADLINES, Row, headline
from wsss_plugins.structures.card import SupervisionCard, merge_runs
from wsss_plugins.structures.card_text import short_form

REMEDY = (
    'leave them out (--classifiers, --heads, --refiners), or give --mix to have them in '
    'one table, where they are marked'
)

OTHERS = dict(
    boundary_miou='boundary_miou',
    fp_rate='fp_rate',
    fn_rate='fn_rate',
    threshold='threshold',
    best_threshold='threshold',
)
"""Metrics of a cell's stages beside mIoU, and what the table calls them."""


@dataclass(frozen=True)
class Entry:
    """The content of one cell of the table.

    Attributes:
        runs: The number in percent by random seed, mIoU or a measure of faithfulness;
            empty if no run is done.
        card: Supervision card of the mean; None if no run is done or a run has no card.
        seconds: Mean duration of the cell's last two stages, which make maps and measure
            them, or refine and measure labels; of the last alone for a measure of
            faithfulness; None if no run is done.
        photos: Number of photos that the number is of, the lowest over the random seeds;
            None if no run is done or its record does not say.
        others: Means of other metrics of the cell: ``boundary_miou``, ``fp_rate`` and
            ``fn_rate`` in percent, and ``threshold``; those that there are.
        refused: Why the seed head refuses the classifier; '' if it accepts it.
        failed: Why a run failed, by random seed.
    """

    runs: Mapping[int, float] = field(default_factory=dict)
    card: SupervisionCard | None = None
    seconds: float | None = None
    photos: int | None = None
    others: Mapping[str, float] = field(default_factory=dict)
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
        stage = self.plan.networks[classifier]
        found = {s: r[stage].metrics for s, r in self.records.items() if stage in r}
        keys = [headline(metrics) for metrics in found.values()]
        key = next(iter(keys), '')
        runs = {s: float(m[key]) for s, m in found.items() if key and key in m}
        return HEADLINES.get(key.rsplit('/', 1)[-1], key), runs

    def is_best(self, choice: Choice, column: str) -> bool:
        """Whether the mean is the best of the classifier's heads in the column."""
        rivals = [
            entry.mean
            for (other, name), entry in self.entries.items()
            if name == column
            and other.classifier == choice.classifier
            and entry.mean is not None
        ]
        mean = self.entries[choice, column].mean
        best = max if self.high_is_good(column) else min
        return mean is not None and len(rivals) > 1 and mean == best(rivals)

    @staticmethod
    def high_is_good(column: str) -> bool:
        """Whether a higher number of the column is better."""
        return column not in MEASURES or MEASURES[column].high_is_good

    def photos(self, column: str) -> int | None:
        """Number of photos of most cells of a column; None if no cell says it."""
        found = [e.photos for (_, name), e in self.entries.items() if name == column]
        counts = [count for count in found if count is not None]
        return statistics.mode(counts) if counts else None

    def best_of(self, classifier: str) -> tuple[Choice, str] | None:
        """Row and refiner with the highest mean of pseudo labels; None if there is none."""
        found = {
            key: entry.mean
            for key, entry in self.entries.items()
            if key[0].classifier == classifier
            and key[1] in self.plan.matrix.refiners
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
        refused = next(
            (self.refused[name] for name in cell.stages if name in self.refused), ''
        )
        failed = {
            seed: next(reasons[s] for s in cell.stages if s in reasons)
            for seed, reasons in self.failed.items()
            if any(s in reasons for s in cell.stages) and not refused
        }
        done = {s: r[cell.score] for s, r in self.records.items() if cell.score in r}
        if refused or not done:
            return Entry(refused=refused, failed=failed)
        last = cell.stages[-1:] if column in MEASURES else cell.stages[-2:]
        cards = [r.supervision for r in done.values()]
        known: Sequence[SupervisionCard] = [card for card in cards if card is not None]
        return Entry(
            runs={s: float(r.metrics[cell.metric]) for s, r in done.items()},
            card=merge_runs(known) if len(known) == len(cards) else None,
            seconds=statistics.mean(
                sum(self.records[s][name].seconds for name in last) for s in done
            ),
            photos=min(filter(None, map(_photos, done.values())), default=None),
            others=self._others(cell, list(done)),
            failed=failed,
        )

    def _others(self, cell: Cell, seeds: Sequence[int]) -> dict[str, float]:
        """Means of the other metrics of a cell of mIoU over the random seeds."""
        found: dict[str, list[float]] = {}
        for seed in seeds:
            for stage in cell.stages[-2:]:
                record = self.records[seed].get(stage)
                metrics = {} if record is None else record.metrics
                for key, name in OTHERS.items():
                    if key in metrics:
                        found.setdefault(name, []).append(float(metrics[key]))
        return {
            name: statistics.mean(values)
            for name, values in found.items()
            if len(values) == len(seeds)
        }


def _photos(record: StageRecord) -> int | None:
    """Number of photos that a stage measured."""
    many = record.metrics.get('images')
    return None if many is None else int(many) - int(record.metrics.get('failed', 0))
