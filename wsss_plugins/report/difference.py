"""How two runs differ: configs, code and data stage by stage, and their numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.engine.code_digests import settled
from wsss_plugins.engine.contents import Content
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.engine.wanted import code_changes, config_changes
from wsss_plugins.errors import DataError, UserError
from wsss_plugins.report.recorded import recorded_config, recorded_hashes
from wsss_plugins.report.rows import COUNTS, headline
from wsss_plugins.structures import load_json
from wsss_plugins.structures.layout import (
    IMAGES_FILE,
    RECORD_FILE,
    SCORES_FILE,
    TRAINING,
)

LONGEST = 200
"""Characters of a value of a config."""
RESAMPLES = 2000
"""Resamples of the images for an interval."""


@dataclass(frozen=True)
class Side:
    """One run, or several that differ in their random seeds.

    Attributes:
        name: What to call it.
        runs: Their work dirs.
    """

    name: str
    runs: tuple[Path, ...]

    @cached_property
    def records(self) -> dict[str, StageRecord]:
        """Records of the finished stages of the first run, in the order they ended."""
        return _records(self.runs[0])

    def folder(self, stage: str) -> Path:
        """Folder of a stage of the first run."""
        return _folder(self.runs[0], stage)

    def values(self, stage: str) -> dict[str, list[float]]:
        """The metrics of a stage in all runs that have it."""
        found = [_records(run).get(stage) for run in self.runs]
        kept = [record.metrics for record in found if record is not None]
        keys = [key for key in (kept[0] if kept else {}) if _last(key) not in COUNTS]
        return {
            key: [float(m[key]) for m in kept if _is_number(m.get(key))] for key in keys
        }

    def class_ious(self, stage: str) -> dict[str, float]:
        """Mean IoU of each class over the runs, in percent; a class that is nowhere is out."""
        found: dict[str, list[float]] = {}
        for run in self.runs:
            for name, value in _ious(_folder(run, stage)).items():
                found.setdefault(name, []).append(value)
        return {name: statistics.mean(values) for name, values in found.items()}


def side_of(place: Path) -> Side:
    """The run or the runs in a folder.

    Args:
        place: A work dir, or a folder of the work dirs of several random seeds.

    Raises:
        UserError: ``place`` holds no finished stage.
    """
    if _records(place):
        return Side(place.name, (place,))
    runs = tuple(sorted(run for run in place.glob('*/') if _records(run)))
    if not runs:
        raise UserError(
            f'{place} holds no finished stage ({RECORD_FILE}): name a work dir, or a '
            'folder of the work dirs of several random seeds'
        )
    return Side(place.name, runs)


def _records(run: Path) -> dict[str, StageRecord]:
    places = [TRAINING, *(path.name for path in run.glob('*/'))]
    found = (StageRecord.load(run / name) for name in dict.fromkeys(places))
    done = sorted((r for r in found if r and r.done), key=lambda r: r.finished)
    return {record.stage: record for record in done}


def _folder(run: Path, stage: str) -> Path:
    """Folder of the record of a stage, or of the training that is all of a work dir."""
    folder = run / stage
    return folder if (folder / RECORD_FILE).is_file() else run / TRAINING


def _last(key: str) -> str:
    return key.rsplit('/', 1)[-1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ious(stage: Path) -> dict[str, float]:
    try:
        scores = load_json(stage / SCORES_FILE)
        ious = scores.get('best', scores)['iou']
        pairs = zip(scores['classes'], ious, strict=True)
        return {str(name): float(value) for name, value in pairs if value is not None}
    except (DataError, OSError, LookupError, TypeError, ValueError, AttributeError):
        return {}


@dataclass(frozen=True)
class Number:
    """A number of one side.

    Attributes:
        mean: Over the runs.
        spread: Sample standard deviation; None for a single run.
        runs: How many runs have it.
    """

    mean: float
    spread: float | None
    runs: int


def number_of(values: Sequence[float]) -> Number | None:
    """Mean and spread of the values of all runs; None without any."""
    if not values:
        return None
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Number(statistics.mean(values), spread, len(values))


@dataclass(frozen=True)
class StageDifference:
    """How a stage of two runs differs.

    Attributes:
        stage: Its name.
        missing: Name of the side that does not have it; '' if both do.
        own: Differences of the stage itself: 'config', 'seed', 'code', 'data' and
            'machine', each a list of texts.
        reads: Stages that it reads and whose results differ.
    """

    stage: str
    missing: str
    own: Mapping[str, Sequence[str]]
    reads: Sequence[str]

    @property
    def same(self) -> bool:
        """Whether the same inputs, code and settings made the result."""
        kinds = [
            kind for kind, texts in self.own.items() if texts and kind != 'machine'
        ]
        return not (self.missing or kinds or self.reads)


def differences(one: Side, other: Side) -> list[StageDifference]:
    """Compares every stage of two sides, each by its first run, in the order they ran."""
    names = dict.fromkeys([*other.records, *one.records])
    found: dict[str, StageDifference] = {}
    for name in sorted(names, key=lambda name: _rank(name, one, other)):
        if name not in one.records or name not in other.records:
            missing = one.name if name in other.records else other.name
            found[name] = StageDifference(name, missing, {}, ())
            continue
        before, now = one.records[name], other.records[name]
        reads = [
            source
            for source in dict.fromkeys([*now.inputs, *before.inputs])
            if source not in found or not found[source].same
        ]
        own = _own(before, now, one.folder(name), other.folder(name))
        found[name] = StageDifference(name, '', own, reads)
    return list(found.values())


def _rank(name: str, one: Side, other: Side) -> tuple[int, int]:
    """After the stages that it reads, in the order of one of the sides."""
    orders = [list(side.records) for side in (other, one)]
    places = [order.index(name) for order in orders if name in order]
    return max(places), 0 if name in orders[0] else 1


def _own(
    before: StageRecord, now: StageRecord, old: Path, new: Path
) -> dict[str, list[str]]:
    earlier, later = recorded_config(old), recorded_config(new)
    texts = (
        config_changes(earlier, later, LONGEST)
        if earlier and later
        else ['no copy of it was kept']
    )
    if before.kind != now.kind:
        texts.insert(0, f'kind {before.kind} → {now.kind}')
    seeds = [f'{before.seed} → {now.seed}'] if before.seed != now.seed else []
    return dict(
        config=texts
        if before.fingerprint != now.fingerprint or before.kind != now.kind
        else [],
        seed=seeds,
        code=_code(before, now),
        data=_data(before, now, old.parent, new.parent),
        machine=_machine(before.environment, now.environment),
    )


def _code(before: StageRecord, now: StageRecord) -> list[str]:
    codes = [record.accepted or record.code for record in (before, now)]
    known = [settled(code) for code in codes if code is not None]
    if len(known) < 2:
        return ['not recorded'] if any(code is not None for code in codes) else []
    return [text.removeprefix('code: ') for text in code_changes(*known)]


def _data(before: StageRecord, now: StageRecord, old: Path, new: Path) -> list[str]:
    """Differences of the files that two results were made from, wherever they lay."""
    earlier, later = before.data or {}, now.data or {}
    texts = []
    for owner, digest in later.items():
        if digest in earlier.values():
            continue
        kind, _, place = owner.partition(' of ')
        content = Content(kind, place, recorded_hashes(new, digest))
        text = content.changes(old, earlier.get(owner))
        texts.append(text.removeprefix('data: '))
    gone = [o for o, d in earlier.items() if d not in later.values() and o not in later]
    return texts + [f'{owner} are not read' for owner in gone]


def _machine(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    flat = [
        {
            **{k: v for k, v in each.items() if k != 'versions'},
            **each.get('versions', {}),
        }
        for each in (before, now)
    ]
    return [
        f'{key} {flat[0].get(key, "unknown")} → {flat[1].get(key, "unknown")}'
        for key in dict.fromkeys([*flat[0], *flat[1]])
        if flat[0].get(key) != flat[1].get(key)
    ]


def image_mious(side: Side, stage: str) -> dict[str, float]:
    """MIoU of each image by id, in percent, of the first run; images without one are out."""
    try:
        content = load_json(side.folder(stage) / IMAGES_FILE)
    except (DataError, OSError):
        return {}
    found = content.items() if isinstance(content, dict) else ()
    return {
        str(name): float(v) for name, v in found if _is_number(v) and math.isfinite(v)
    }


@dataclass(frozen=True)
class Change:
    """The mean change of the mIoU of an image.

    Attributes:
        mean: In percentage points, second minus first.
        low: Lower end of the 95 % interval over the images.
        high: Its upper end.
        images: Number of images that both sides measured.
    """

    mean: float
    low: float
    high: float
    images: int


def mean_change(
    before: Mapping[str, float], now: Mapping[str, float], seed: int = 0
) -> Change | None:
    """The mean change over the images that two results share, with a bootstrap interval.

    Images are drawn with replacement, the two numbers of an image together; the interval
    has the middle 95 % of :data:`RESAMPLES` means. It tells how much the images matter,
    not how much the random seed does.

    Args:
        before: Numbers by id of the image.
        now: The same of the other result.
        seed: Random seed of the resamples.

    Returns:
        The change; None if they share fewer than two images.
    """
    shared = [name for name in now if name in before]
    if len(shared) < 2:
        return None
    steps = np.array([now[name] - before[name] for name in shared])
    generator = np.random.default_rng(seed)
    means = [
        steps[generator.integers(0, len(steps), len(steps))].mean()
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return Change(float(steps.mean()), float(low), float(high), len(shared))


def main_metrics(one: Side, other: Side) -> list[tuple[str, str]]:
    """Stage and name of the main result of every stage that both sides measured."""
    found = []
    for stage, record in other.records.items():
        key = headline(record.metrics)
        if key and stage in one.records and key in one.records[stage].metrics:
            found.append((stage, key))
    return found
