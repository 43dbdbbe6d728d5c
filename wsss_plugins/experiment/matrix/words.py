"""Texts of the tables of a grid, other than its numbers."""

from __future__ import annotations

from datetime import date
from typing import Any

from wsss_plugins.config import plain
from wsss_plugins.experiment.matrix.faithfulness import MEASURES
from wsss_plugins.experiment.matrix.results import Entry, Table
from wsss_plugins.experiment.matrix.wanted import BEST
from wsss_plugins.report.markup import duration

REFUSED, FAILED, WAITING = '-', 'failed', 'not yet'


def title_of(column: str) -> str:
    """The title of a column."""
    if column in MEASURES:
        return f'{column} {"↑" if MEASURES[column].high_is_good else "↓"}'
    return column.replace('_', ' ') if column == BEST else column


def number_of(entry: Entry, count: int, photos: int | None = None) -> str:
    """Text of a cell: mean and spread; number of runs and photos if they are not these.

    Args:
        entry: The cell.
        count: Number of random seeds of the grid.
        photos: Number of photos of the other cells of the column; None if it is unknown.
    """
    if entry.mean is None:
        return REFUSED if entry.refused else FAILED if entry.failed else WAITING
    text = f'{entry.mean:.1f}'
    if entry.spread is not None:
        text += f' ± {entry.spread:.1f}'
    if len(entry.runs) != count:
        text += f' ({len(entry.runs)} of {count})'
    if None not in (photos, entry.photos) and entry.photos != photos:
        text += f' ({entry.photos} photos)'
    return text


def made_by(table: Table, command: str) -> str:
    """Sentence with the command, the date, the machine and the commits."""
    records = table.all_records
    text = f'`{command}`' if command else 'Made'
    text += f' on {date.today().isoformat()}'
    if records:
        place = records[-1].environment
        commits = sorted({str(r.environment.get('commit')) for r in records})
        text += (
            f', {place.get("device")}, {place.get("threads")} threads, torch '
            f'{place.get("versions", {}).get("torch")}, commit {", ".join(commits)}'
        )
    return text + '.'


def reading(table: Table) -> list[str]:
    """Sentences that explain how to read the table."""
    seeds, matrix = table.seeds, table.plan.matrix
    several = len(seeds) > 1
    how = f'mean ± sample standard deviation of {len(seeds)} random seeds'
    sentences = [
        'mIoU in percent, '
        + (how if several else f'of one run, seed {seeds[0]}')
        + '.',
        'Bold: the best of a column among the seed heads of one classifier.',
        f"'{title_of(BEST)}': the maps, cut where their mIoU on these masks is highest, an "
        'upper bound; the other columns are pseudo labels.',
    ]
    for name in matrix.refiners:
        refiners = matrix.refining(name)['refiners']
        chain = ', '.join(_name(refiner) for refiner in refiners)
        sentences.append(f"'{name}': {chain}.{_shared(table, name)}")
    sentences.append(_threshold(table))
    sentences += [*_own_thresholds(table), *_faithfulness(table), *_photos(table)]
    missing = table.missing
    if missing:
        sentences.append(f'Unfinished: {missing} runs of cells are not there yet.')
    seconds = table.mean_seconds()
    if seconds:
        sentences.append(f'All stages of a seed took {duration(seconds)}.')
    return sentences


def _shared(table: Table, column: str) -> str:
    """Sentence on the stages that serve all rows of a column; '' if there are none."""
    names = table.plan.shared.get(column)
    if not names:
        return ''
    *before, last = names
    after = f', made by way of {", ".join(before)}' if before else ''
    return f" One '{last}'{after}, serves all rows."


def _own_thresholds(table: Table) -> list[str]:
    """Sentences on columns whose background is not that of the others."""
    matrix = table.plan.matrix
    usual = (matrix.refine or {}).get('threshold')
    lines = []
    for name in matrix.refiners:
        own = matrix.refining(name).get('threshold')
        if own != usual:
            what = 'that of its refiners' if own is None else f"that of '{own}'"
            lines.append(f"The background of '{name}' is {what}.")
    return lines


def _faithfulness(table: Table) -> list[str]:
    """Sentences on the measures of faithfulness, if there are any."""
    tested = table.plan.matrix.tested()
    if tested is None:
        return []
    height, width = tested.input_size
    lines = [f"'{title_of(c)}': {m.text}." for c, m in MEASURES.items()]
    return [
        'Faithfulness in percent, of the maps of one view without flip, for the '
        'image-level label with the highest logit; ↑ high is good, ↓ low is good.',
        *lines,
        f'Photos are resized to {height}x{width}; {tested.steps} steps of insertion and '
        f'of deletion, {tested.levels} levels of perturbation, whose areas are at most '
        f'{100 - 100 / tested.levels:g}. The probability is the sigmoid of the logit.',
    ]


def _photos(table: Table) -> list[str]:
    """A sentence that says over how many photos each column is, if their number differs."""
    columns: dict[int, list[str]] = {}
    for column in table.plan.columns:
        many = table.photos(column)
        if many is not None:
            columns.setdefault(many, []).append(title_of(column))
    if not columns or table.plan.matrix.tested() is None:
        return []
    parts = [f'{", ".join(names)} over {many}' for many, names in columns.items()]
    return [f'Number of photos: {"; ".join(parts)}; a cell of another number says so.']


def _name(refiner: Any) -> str:
    return str(plain(refiner.get('type'))).rsplit('.', 1)[-1]


def _threshold(table: Table) -> str:
    """Sentence on the threshold of the background of pseudo labels."""
    refine = table.plan.matrix.refine or {}
    given, factor = refine.get('threshold'), refine.get('threshold_factor', 1.0)
    part = '' if factor == 1 else f'{factor:g} times '
    if given is None:
        return 'The background of pseudo labels is that of their refiners.'
    if given == 'best':
        return (
            f'The background of pseudo labels begins at {part}the best threshold of their '
            'maps, so it owes a number to these masks.'
        )
    if isinstance(given, str):
        return (
            f'The background of all pseudo labels begins at {part}the threshold that '
            f"'{given}' finds in their maps: no mask has a say."
        )
    return f'The background of all pseudo labels begins at {given:g}.'


def best_of_each(table: Table) -> list[str]:
    """Lines that name the best pseudo labels of each classifier."""
    lines = []
    for classifier in table.plan.matrix.classifiers:
        found = table.best_of(classifier)
        if found is not None:
            choice, column = found
            entry = table.entries[choice, column]
            value = number_of(entry, len(table.seeds))
            lines.append(f'{classifier}: {choice.head} with {column}, {value}')
    return lines


def classifiers(table: Table) -> list[str]:
    """Lines with the metric of each classifier's training."""
    lines = []
    for classifier in table.plan.matrix.classifiers:
        what, runs = table.trained(classifier)
        if runs:
            value = number_of(Entry(runs), len(table.seeds))
            lines.append(f'{classifier}: {what} {value}')
    return lines
