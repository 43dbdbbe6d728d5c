"""Whether seed heads that localise better are also more faithful: rank correlations."""

from __future__ import annotations

from dataclasses import dataclass

from wsss_plugins.experiment.matrix.faithfulness import MEASURES
from wsss_plugins.experiment.matrix.plan import Choice
from wsss_plugins.experiment.matrix.results import Table
from wsss_plugins.metrics import RankCorrelation, rank_correlation
from wsss_plugins.structures.tables import Cell

ALL = 'all'
"""What stands for all classifiers together."""

RESAMPLES = 2000

HEADER = (
    'classifier', 'column', 'measure', 'cells', 'spearman', 'low', 'high', 'kendall',
    'resamples', 'undefined',
)  # fmt: skip

MEANING = (
    'Spearman rank correlation of the mIoU of a column with a measure of faithfulness, over '
    'the seed heads of a classifier, or over all cells of classifiers and seed heads. Deletion '
    'and positive perturbation are counted as their negative, so that a number above 0 '
    'means: heads that localise better are more faithful. In brackets the 95 % interval of '
    f'{RESAMPLES:,} bootstrap resamples. Cells are resampled, a seed head on a classifier '
    'with both of its numbers; photos and trainings are not, so their chance is not in the '
    'interval. Over all cells, differences between classifiers count too.'
)


@dataclass(frozen=True)
class Agreement:
    """The rank correlation of a column of mIoU with a measure of faithfulness.

    Attributes:
        classifier: The classifier whose seed heads are compared; None for all cells.
        column: The column of mIoU.
        measure: The measure, a key of :data:`MEASURES`.
        found: The correlation; its sign is that of more faithful.
    """

    classifier: str | None
    column: str
    measure: str
    found: RankCorrelation

    @property
    def text(self) -> str:
        """The correlation and its interval, or why there is none."""
        found = self.found
        if found.spearman is None:
            return f'undefined: {found.why}'
        text = f'{found.spearman:.2f}'
        if found.low is None or found.high is None:
            return text
        return f'{text} [{found.low:.2f}, {found.high:.2f}]'


def pairs_of(
    table: Table, classifier: str | None, column: str, measure: str
) -> dict[Choice, tuple[float, float]]:
    """The two numbers of every cell that has both, means over the random seeds.

    Args:
        table: The table.
        classifier: The classifier; None for all.
        column: A column of mIoU.
        measure: A measure of faithfulness.
    """
    found = {}
    for choice in table.plan.choices:
        if classifier in (None, choice.classifier):
            one = table.entries[choice, column].mean
            other = table.entries[choice, measure].mean
            if one is not None and other is not None:
                found[choice] = (one, other)
    return found


def agreements(table: Table) -> list[Agreement]:
    """Correlates each column of mIoU with each measure, by classifier and over all.

    Returns:
        The correlations; empty if the grid does not measure faithfulness.
    """
    if table.plan.matrix.tested() is None:
        return []
    scopes: list[str | None] = [*table.plan.matrix.classifiers]
    found = []
    for classifier in [*scopes, None] if len(scopes) > 1 else scopes:
        for measure, kind in MEASURES.items():
            for column in table.plan.localisation:
                pairs = pairs_of(table, classifier, column, measure).values()
                x, y = [a for a, _ in pairs], [b for _, b in pairs]
                result = rank_correlation(x, y, RESAMPLES)
                if not kind.high_is_good:
                    result = result.negated()
                found.append(Agreement(classifier, column, measure, result))
    return found


def agreement_rows(found: list[Agreement]) -> list[list[Cell]]:
    """Rows of the CSV file, in the columns of :data:`HEADER`."""
    return [
        [
            ALL if each.classifier is None else each.classifier,
            each.column,
            each.measure,
            each.found.count,
            each.found.spearman,
            each.found.low,
            each.found.high,
            each.found.kendall,
            each.found.resamples,
            each.found.why,
        ]
        for each in found
    ]
