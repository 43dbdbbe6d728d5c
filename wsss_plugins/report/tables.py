"""Results of several runs as one object that prints as a table, in a notebook too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from wsss_plugins.report.comparison import comparison, comparison_cells
from wsss_plugins.report.markup import table, tag
from wsss_plugins.report.rows import Row, rows_of_all


@dataclass(frozen=True)
class ResultsTable:
    """Rows of results; ``str`` gives Markdown, a notebook shows HTML.

    Attributes:
        rows: The results.
        mix: Whether results that cannot be compared stand in one table, marked.
    """

    rows: Sequence[Row]
    mix: bool = False

    def __str__(self) -> str:
        """Markdown, with the short form of each supervision card."""
        return comparison(self.rows, self.mix)

    def csv(self) -> str:
        """Comma-separated values, numbers in full."""
        return comparison(self.rows, self.mix, as_csv=True)

    def _repr_html_(self) -> str:
        """What a notebook shows: the table, and the notes on marked rows under it."""
        head, cells, notes = comparison_cells(self.rows, self.mix)
        titles = [head[0], *(f'#{name}' for name in head[1:-1]), head[-1]]
        shown = [[escape(cell) for cell in row] for row in cells]
        return table(titles, shown, 'results') + ''.join(
            tag('p', escape(note)) for note in notes
        )


def results_table(
    *paths: Path | str,
    stages: Iterable[str] = (),
    metrics: Iterable[str] = (),
    mean: bool = False,
    mix: bool = False,
) -> ResultsTable:
    """Reads the results of runs, as ``tools/table.py`` does.

    Args:
        paths: Work dirs, folders of stages, or the files that hold their metrics.
        stages: Names of stages; by default those that measure mIoU or mAP.
        metrics: Names of metrics; by default mIoU or mAP.
        mean: Whether to take mean and spread over the runs that lie in one folder.
        mix: Whether to mark results that cannot be compared, where they would be refused.

    Raises:
        UserError: A path holds no results of that kind; or, without ``mix``, a row
            cannot be compared with the others.
    """
    rows = rows_of_all([Path(path) for path in paths], stages, metrics, mean)
    made = ResultsTable(rows, mix)
    str(made)  # refuses rows that cannot be compared
    return made
