"""Rows of results, read from work dirs."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsss_plugins.engine.record import StageRecord
from wsss_plugins.errors import UserError
from wsss_plugins.provenance.files import card_of_folder
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import SupervisionCard, merge_runs
from wsss_plugins.structures.layout import METRICS_FILE, RECORD_FILE

HEADLINES = {
    'best_miou': 'mIoU at the best threshold',
    'miou': 'mIoU',
    'mIoU': 'validation mIoU',
    'mAP': 'validation mAP',
}
"""The metrics that are a stage's result, by the last part of their names."""

COUNTS = (
    'images',
    'classes',
    'absent_classes',
    'absent_as_0',
    'failed',
    'left_out',
    'files',
    'threshold',
    'background_share',
    'seed_background_share',
    'one_class',
)
"""Metrics that are not results."""

COLUMNS = dict(best_miou='mIoU', miou='mIoU')
"""Main results whose names in tables differ from those in metrics."""


@dataclass(frozen=True)
class Row:
    """The metrics of one stage, or their means over several runs.

    Attributes:
        title: Name of the result.
        metrics: Metrics by name; means if there are several runs.
        card: Supervision card of the metrics; None if there is none.
        spreads: Sample standard deviations by name; None for a single run.
    """

    title: str
    metrics: Mapping[str, float]
    card: SupervisionCard | None
    spreads: Mapping[str, float] | None = None


def headline(metrics: Mapping[str, Any]) -> str:
    """The key of the metric that is a stage's result, or an empty string."""
    for name in HEADLINES:
        for key in metrics:
            if key.rsplit('/', 1)[-1] == name:
                return key
    return ''


def measure_of(metrics: Mapping[str, Any], key: str) -> str:
    """The measure of a main result in words, with the classes and images of its mean.

    Args:
        metrics: Everything that a stage measured.
        key: Of the main result, see :func:`headline`.
    """
    prefix, words = key[: -len(_last(key))], HEADLINES[_last(key)]
    classes, images = (metrics.get(f'{prefix}{n}') for n in ('classes', 'images'))
    if classes is None:
        return words
    left_out, zeros = (
        metrics.get(f'{prefix}{n}', 0) for n in ('absent_classes', 'absent_as_0')
    )
    of = f' of {classes + left_out:g}' if left_out else ''
    as_0 = f' ({zeros:g} absent, counted as 0)' if zeros else ''
    shown = '' if images is None else f', {images:g} images'
    return f'{words} over {classes:g}{of} classes{as_0}{shown}'


def rows_of_all(
    paths: Sequence[Path],
    stages: Iterable[str] = (),
    metrics: Iterable[str] = (),
    mean: bool = False,
) -> list[Row]:
    """The rows of several runs, titled by their differences.

    Args:
        paths: See :func:`rows_of`.
        stages: See :func:`rows_of`.
        metrics: See :func:`rows_of`.
        mean: Whether to take the mean over the runs that lie in one folder.
    """
    stages, metrics = list(stages), list(metrics)
    folders = [
        p.parent if p.is_file() or mean else p for p in map(Path.absolute, paths)
    ]
    common = os.path.commonpath([f.parent for f in folders])
    rows = []
    for path, folder in zip(paths, folders, strict=True):
        label = '' if len(set(folders)) == 1 else os.path.relpath(folder, common)
        for row in rows_of(path, stages, metrics):
            own = Path(label).name == row.title  # the folder of a stage
            title = label if own else f'{label}: {row.title}' if label else row.title
            rows.append(replace(row, title=title))
    return mean_rows(rows) if mean else rows


def rows_of(
    path: Path, stages: Iterable[str] = (), metrics: Iterable[str] = ()
) -> list[Row]:
    """The rows of one run.

    Args:
        path: A work dir, the folder of a stage, or the file that holds its metrics.
        stages: Which stages; by default those with a main result.
        metrics: Which metrics, by name or the last part of it; by default the main
            result of a stage, or all it has if none is known to be.

    Raises:
        UserError: ``path`` holds no results, or none of ``stages`` or ``metrics``.
    """
    records = _records(path)
    wanted = list(stages)
    missing = [name for name in wanted if name not in records]
    if missing:
        raise UserError(
            f"{path} has no stage '{missing[0]}' that is done: there are "
            + ', '.join(records)
        )
    names = wanted or [n for n, (found, _) in records.items() if headline(found)]
    chosen = list(metrics)
    rows = [Row(n, _cells(records[n][0], chosen), records[n][1]) for n in names]
    rows = [row for row in rows if row.metrics]
    if not rows:
        raise UserError(
            f'{path} has no results of that kind: name stages and metrics of it'
        )
    return rows


def _cells(metrics: Mapping[str, Any], chosen: Sequence[str]) -> dict[str, float]:
    numbers = {
        key: float(value)
        for key, value in metrics.items()
        if isinstance(value, int | float)
    }
    if chosen:
        return {k: v for k, v in numbers.items() if {k, _last(k)} & set(chosen)}
    key = headline(numbers)
    if key:
        return {COLUMNS.get(_last(key), _last(key)): numbers[key]}
    return {k: v for k, v in numbers.items() if _last(k) not in COUNTS}


def _last(key: str) -> str:
    return key.rsplit('/', 1)[-1]


def _records(
    path: Path,
) -> dict[str, tuple[Mapping[str, Any], SupervisionCard | None]]:
    """Metrics and card of every stage below ``path``, in the order they ran."""
    folder = path.parent if path.is_file() else path
    if (folder / METRICS_FILE).is_file():
        content = load_json(folder / METRICS_FILE)
        return {folder.name: (content['metrics'], card_of_folder(folder))}
    places = [folder] if (folder / RECORD_FILE).is_file() else folder.glob('*/')
    found = [StageRecord.load(place) for place in places]
    done = sorted((r for r in found if r and r.done), key=lambda r: r.finished)
    if not done:
        raise UserError(
            f'{path} holds no results ({RECORD_FILE} or {METRICS_FILE}): name a work dir'
        )
    return {record.stage: (record.metrics, record.supervision) for record in done}


def mean_rows(rows: Sequence[Row]) -> list[Row]:
    """One row for rows of equal title, with mean and spread of each metric.

    The mean has a card only if every row has one.

    Raises:
        UserError: Rows of one title differ in more than the random seed.
    """
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.title].append(row)
    return [_mean_row(title, group) for title, group in groups.items()]


def _mean_row(title: str, rows: Sequence[Row]) -> Row:
    keys = [k for k in rows[0].metrics if all(k in row.metrics for row in rows)]
    values = {k: [row.metrics[k] for row in rows] for k in keys}
    means = {k: statistics.mean(v) for k, v in values.items()}
    spreads = {k: statistics.stdev(v) if len(v) > 1 else 0.0 for k, v in values.items()}
    cards = [row.card for row in rows if row.card is not None]
    card = merge_runs(cards) if len(cards) == len(rows) else None
    return Row(title, means, card, spreads if len(rows) > 1 else None)
