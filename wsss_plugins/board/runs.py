"""What the files of work dirs tell of their runs: stages, states and progress."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from wsss_plugins.board.logs import last_step, steps_of
from wsss_plugins.engine.lock import run_in
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.errors import DataError
from wsss_plugins.report.recorded import count_read
from wsss_plugins.structures import load_json
from wsss_plugins.structures.layout import (
    IDENTITY_FILE,
    LABELS,
    RECORD_FILE,
    SEEDS,
    TRAINING,
)

DEEPEST = 6
"""Folders between the root and a work dir, at most."""

WAITING, RUNNING, INTERRUPTED, DONE = 'waiting', 'running', 'interrupted', 'done'
"""States of a stage."""


@dataclass(frozen=True)
class StageSeen:
    """A stage of a work dir.

    Attributes:
        name: Its name.
        folder: Its folder, which need not exist.
        state: 'waiting', 'running', 'interrupted' or 'done'.
        record: Its record; None where it has not begun.
        made: Images or steps that are done, of a stage that runs or was interrupted.
        total: All of them; 0 where their number is not known.
        unit: What is counted.
        since: Seconds since this run of the stage began.
    """

    name: str
    folder: Path
    state: str
    record: StageRecord | None = None
    made: int = 0
    total: int = 0
    unit: str = 'images'
    since: float = 0.0

    @property
    def left(self) -> float | None:
        """Seconds until it is done, if the rest takes as long as what was made."""
        if self.state != RUNNING or not 0 < self.made < self.total:
            return None
        return self.since / self.made * (self.total - self.made)


@dataclass(frozen=True)
class Run:
    """A work dir.

    Attributes:
        name: Its path below the root of the board, with forward slashes; '.' for the root.
        folder: The work dir.
        experiment: The experiment that it belongs to; '' if that is not known.
        owner: What the lock says of the run that uses it; empty if none does.
        stages: Those that have begun, in that order, and those that this run will do.
    """

    name: str
    folder: Path
    experiment: str = ''
    owner: Mapping[str, Any] = field(default_factory=dict)
    stages: Sequence[StageSeen] = ()

    @property
    def state(self) -> str:
        """State of the whole: that of its run, or 'done' if no stage was interrupted."""
        if self.owner:
            return RUNNING
        unfinished = any(stage.state != DONE for stage in self.stages)
        return INTERRUPTED if unfinished else DONE

    @property
    def done(self) -> int:
        """Number of stages that are done."""
        return sum(stage.state == DONE for stage in self.stages)

    @property
    def changed(self) -> str:
        """When a stage last ended, ISO 8601; '' if none did."""
        ends = (stage.record.finished for stage in self.stages if stage.record)
        return max(ends, default='')


def work_dirs(root: Path) -> Iterator[Path]:
    """Work dirs at or below a folder; links and hidden folders are not followed.

    Args:
        root: The folder.

    Yields:
        Folders that have the name of an experiment, a stage, or a training of its own.
    """
    pending = [(root, 0)]
    while pending:
        folder, depth = pending.pop()
        inner = sorted(_folders(folder), reverse=True)
        stages = [path for path in inner if (path / RECORD_FILE).is_file()]
        alone = (folder / TRAINING / RECORD_FILE).is_file()
        if stages or alone or (folder / IDENTITY_FILE).is_file():
            yield folder
        if depth < DEEPEST and not (folder / RECORD_FILE).is_file():
            pending += [(path, depth + 1) for path in inner if path not in stages]


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith('.')
                and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


def read_run(root: Path, folder: Path) -> Run:
    """Reads the files of a work dir."""
    try:
        identity = load_json(folder / IDENTITY_FILE)
    except (DataError, OSError):
        identity = {}
    experiment = identity.get('experiment') if isinstance(identity, dict) else None
    owner = run_in(folder)
    return Run(
        name=folder.relative_to(root).as_posix(),
        folder=folder,
        experiment=experiment if isinstance(experiment, str) else '',
        owner=owner,
        stages=_stages(folder, owner),
    )


def _stages(work_dir: Path, owner: Mapping[str, Any]) -> list[StageSeen]:
    planned = owner.get('stages')
    listed = planned if isinstance(planned, list) else []
    names = [name for name in listed if isinstance(name, str)]
    places = [work_dir / path.name for path in sorted(work_dir.glob('*/'))]
    found = {path.name: record for path in places if (record := _record(path))}
    if (work_dir / TRAINING / RECORD_FILE).is_file():
        record = StageRecord.load(work_dir / TRAINING)
        found |= {} if record is None else {work_dir.name: record}
    begun = {
        name: _begun(record, _folder(work_dir, name)) for name, record in found.items()
    }
    order = [*sorted(found, key=lambda name: begun[name]), *names]
    unfinished = [name for name, record in found.items() if not record.done]
    now = max(unfinished, key=lambda name: begun[name], default='') if owner else ''
    return [
        _seen(name, _folder(work_dir, name), found.get(name), name == now)
        for name in dict.fromkeys(order)
    ]


def _record(folder: Path) -> StageRecord | None:
    return StageRecord.load(folder) if (folder / RECORD_FILE).is_file() else None


def _folder(work_dir: Path, name: str) -> Path:
    """Folder of a stage, or of the training that is all of its work dir."""
    folder = work_dir / name
    return (
        folder
        if (folder / RECORD_FILE).is_file() or name != work_dir.name
        else work_dir
    )


def _begun(record: StageRecord, folder: Path) -> float:
    """When a stage ended, or began if it has not, in seconds since 1970."""
    return _written(folder) if not record.finished else _seconds(record.finished)


def _seconds(text: str) -> float:
    """Seconds since 1970 of a local time in ISO 8601; 0 if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _written(folder: Path) -> float:
    """When the record of a stage was written, in seconds since 1970."""
    for place in (folder / RECORD_FILE, folder / TRAINING / RECORD_FILE):
        try:
            return place.stat().st_mtime
        except OSError:
            continue
    return 0.0


def _seen(
    name: str, folder: Path, record: StageRecord | None, running: bool
) -> StageSeen:
    if record is None:
        return StageSeen(name, folder, WAITING)
    if record.done:
        return StageSeen(name, folder, DONE, record)
    made, total, unit = _progress(folder, record)
    state = RUNNING if running else INTERRUPTED
    since = max(0.0, time.time() - _written(folder))
    return StageSeen(name, folder, state, record, made, total, unit, since)


def _progress(folder: Path, record: StageRecord) -> tuple[int, int, str]:
    """What a stage has made, of how many, and what is counted."""
    steps = steps_of(folder)
    if steps:
        return last_step(folder), steps, 'steps'
    for kind, suffix in ((SEEDS, '.npz'), (LABELS, '.png')):
        if (folder / kind).is_dir():
            return (
                count_files(folder / kind, suffix),
                count_read(folder, record),
                'images',
            )
    return 0, 0, 'images'


def count_files(folder: Path, suffix: str) -> int:
    """Number of complete files with a suffix in a folder and its subfolders."""
    return sum(
        name.endswith(suffix) and not name.startswith('.')
        for _, _, names in os.walk(folder)
        for name in names
    )


def newest_files(folder: Path, suffix: str, count: int) -> list[Path]:
    """The files of a folder and its subfolders that were written last, newest first."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(suffix) and not name.startswith('.'):
                path = Path(place) / name
                try:
                    found.append((path.stat().st_mtime_ns, path))
                except OSError:
                    continue
    return [path for _, path in sorted(found, reverse=True)[:count]]
