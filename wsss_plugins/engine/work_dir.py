"""The folder of an experiment: whose it is, and results of other configs set aside."""

from __future__ import annotations

import shutil
from pathlib import Path

from wsss_plugins.engine.record import StageRecord
from wsss_plugins.engine.workers import barrier, rank
from wsss_plugins.errors import DataError, UserError
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.layout import FAILURES_FILE, IDENTITY_FILE

PREVIOUS = '.previous'


def claim(work_dir: Path, experiment: str) -> None:
    """Marks a work dir as that of an experiment.

    Raises:
        UserError: It is that of another one, or a file.
    """
    if work_dir.exists() and not work_dir.is_dir():
        raise UserError(f'--work-dir {work_dir} is a file: name a folder')
    path = work_dir / IDENTITY_FILE
    if path.is_file():
        owner = load_json(path).get('experiment')
        if owner != experiment:
            raise UserError(
                f"work dir {work_dir} belongs to '{owner}', not '{experiment}': "
                'choose another with --work-dir'
            )
    barrier()
    if rank() == 0:
        save_json(path, dict(experiment=experiment))
    barrier()


def refuse_failures(stage: Path) -> None:
    """Ends the pipeline when the stage in folder ``stage`` went on without some images.

    Raises:
        DataError: It did.
    """
    record = StageRecord.load(stage)
    if record is None or not record.metrics.get('failed'):
        return
    count, path = record.metrics['failed'], stage / FAILURES_FILE
    remedy = 'mend them and run the same command again'
    if record.done:  # by a run that was not strict; later stages may have read it
        remedy = f'mend them and remove {stage} and what was made from it'
    raise DataError(
        f"stage '{stage.name}': {count} of its images failed, listed in {path}: {remedy}, "
        'or leave out --strict'
    )


def make_room(out: Path, wanted: str) -> None:
    """Moves the result of another config aside; brings back the wanted one if it is there."""
    aside = out.parent / PREVIOUS
    record = StageRecord.load(out) if out.is_dir() else None
    if record is not None:
        aside.mkdir(exist_ok=True)
        place = aside / f'{out.name}-{record.fingerprint}'
        shutil.rmtree(place, ignore_errors=True)
        out.rename(place)
    earlier = aside / f'{out.name}-{wanted}'
    if earlier.is_dir():
        earlier.rename(out)
    out.mkdir(parents=True, exist_ok=True)
