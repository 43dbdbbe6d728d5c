"""Texts of the tables of a grid, other than its numbers."""

from __future__ import annotations

from datetime import date
from typing import Any

from wsss_plugins.config import plain
from wsss_plugins.experiment.matrix.results import Entry, Table
from wsss_plugins.experiment.matrix.wanted import BEST
from wsss_plugins.report.markup import duration

REFUSED, FAILED, WAITING = '-', 'failed', 'not yet'


def title_of(column: str) -> str:
    """The title of a column."""
    return column.replace('_', ' ') if column == BEST else column


def number_of(entry: Entry, count: int) -> str:
    """Text of a cell: mean, spread, and the number of runs if it is not ``count``."""
    if entry.mean is None:
        return REFUSED if entry.refused else FAILED if entry.failed else WAITING
    text = f'{entry.mean:.1f}'
    if entry.spread is not None:
        text += f' ± {entry.spread:.1f}'
    return (
        text if len(entry.runs) == count else f'{text} ({len(entry.runs)} of {count})'
    )


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
        'Bold: the highest of a column among the seed heads of one classifier.',
        f"'{title_of(BEST)}': the maps, cut where their mIoU on these masks is highest, an "
        'upper bound; the other columns are pseudo labels.',
    ]
    for name, refiners in matrix.refiners.items():
        chain = ', '.join(_name(refiner) for refiner in refiners)
        sentences.append(f"'{name}': {chain}.")
    sentences.append(_threshold(table))
    missing = table.missing
    if missing:
        sentences.append(f'Unfinished: {missing} runs of cells are not there yet.')
    seconds = table.mean_seconds()
    if seconds:
        sentences.append(f'All stages of a seed took {duration(seconds)}.')
    return sentences


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
