"""The work dir of an experiment: its owner, and earlier results that are kept aside."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from wsss_plugins.engine.record import StageRecord
from wsss_plugins.engine.wanted import Wanted
from wsss_plugins.engine.workers import barrier, rank
from wsss_plugins.errors import DataError, UserError
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.layout import (
    FAILURES_FILE,
    IDENTITY_FILE,
    PREVIOUS,
    REDO_FILE,
)


def claim(work_dir: Path, experiment: str) -> None:
    """Records in a work dir which experiment it belongs to; every worker calls it.

    Raises:
        UserError: ``work_dir`` belongs to another experiment.
    """
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
    """Raises an error if the stage in folder ``stage`` left out images that failed.

    Raises:
        DataError: The stage's metric ``failed`` is not 0.
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


def make_room(out: Path, wanted: Wanted, restore: bool = True) -> None:
    """Moves an outdated result of a stage aside, and restores an earlier one that fits.

    Args:
        out: Folder of the stage.
        wanted: What the result of the stage now depends on.
        restore: True to restore an earlier result that fits; False for ``--redo``.
    """
    aside = out.parent / PREVIOUS
    record = StageRecord.load(out) if out.is_dir() else None
    if record is not None:
        aside.mkdir(exist_ok=True)
        place = aside / '-'.join(
            filter(None, [out.name, record.fingerprint, record.result])
        )
        shutil.rmtree(place, ignore_errors=True)
        out.rename(place)
    found = {
        folder: earlier
        for folder in aside.glob(f'{out.name}-{wanted.fingerprint}*')
        if (earlier := StageRecord.load(folder)) and wanted.is_met_by(earlier)
    }
    if restore and found and not out.exists():
        max(found, key=lambda folder: found[folder].redone).rename(out)
    out.mkdir(parents=True, exist_ok=True)


def asked_again(work_dir: Path) -> dict[str, int]:
    """Stages that ``--redo`` named in a run that did not finish.

    Returns:
        For each stage, the value of ``redone`` that its record will have when it is done.
    """
    path = work_dir / REDO_FILE
    if not path.is_file():
        return {}
    content = load_json(path)
    return {str(name): int(number) for name, number in content.items()}


@contextmanager
def doing_again(work_dir: Path, names: Collection[str]) -> Iterator[None]:
    """Records the stages of ``--redo`` in the work dir until the block ends without error.

    If the run is killed, the same command continues it: stages that have been run again
    are not run once more. Every worker calls this function.

    Args:
        work_dir: Folder of the experiment.
        names: Names of the stages to run again.

    Yields:
        Nothing.
    """
    asked = asked_again(work_dir)
    for name in set(names) - set(asked):
        record = StageRecord.load(work_dir / name)
        # A stage that was interrupted continues and is not run again from the start.
        asked[name] = record.redone + record.done if record is not None else 0
    barrier()
    if rank() == 0 and asked:
        save_json(work_dir / REDO_FILE, asked)
    barrier()
    yield
    barrier()
    if rank() == 0 and asked:
        due = {
            name: number
            for name, number in asked.items()
            if (record := StageRecord.load(work_dir / name)) is None
            or record.redone < number
        }
        if due:
            save_json(work_dir / REDO_FILE, due)
        else:
            (work_dir / REDO_FILE).unlink(missing_ok=True)
    barrier()
