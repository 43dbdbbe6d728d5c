"""Records of stages: a file with the metrics of a stage and how they were made."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import wsss_plugins
from wsss_plugins.errors import DataError
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_text import card_from_json
from wsss_plugins.structures.layout import RECORD_FILE

PACKAGES = ('torch', 'timm', 'onedl-mmengine', 'onedl-mmsegmentation', 'numpy')


@dataclass
class StageRecord:
    """The record of one stage.

    Attributes:
        stage: Name of the stage.
        kind: Name of the stage's class.
        fingerprint: Hash of the config, the seed, the data and the inputs.
        inputs: Fingerprint of each stage that was read, by name.
        seed: Random seed of the experiment.
        done: False while the stage runs, and after it was interrupted.
        metrics: Metrics that the stage returned.
        provenance: How the metrics were made, for people to read.
        seconds: Duration of the last run.
        finished: Local time at which the last run ended, ISO 8601.
        environment: Versions, commit, machine and number of workers.
        card: Supervision card of the metrics, as JSON. None for a stage that measures
            nothing, and in records that were written by versions without cards.
        code: Digests of the code that made the result, see
            :class:`~wsss_plugins.engine.code_digests.CodeDigests`. None in records that
            were written by versions without these digests.
        accepted: Digests of other code for which the result is kept, because of
            ``--accept-code`` or because the code that made the result is not known.
        result: Name of the result, which the records of later stages repeat. '' in
            records that were written by versions without code digests.
        reads: Name of the result of each stage that was read, by name of the stage. Empty
            in records that were written by versions without code digests.
        redone: How often the stage was run again with ``--redo``.
        data: Hash of the files that the stage read from outside of the work dir, by kind of
            file, see :class:`~wsss_plugins.engine.contents.Content`. None in records that
            were written by versions without these hashes.
        data_noted: True if ``data`` was computed after the result was made, because a
            version without these hashes made it.
    """

    stage: str
    kind: str
    fingerprint: str
    inputs: dict[str, str]
    seed: int
    done: bool = False
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str = ''
    environment: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] | None = None
    code: dict[str, str] | None = None
    accepted: dict[str, str] | None = None
    result: str = ''
    reads: dict[str, str] = field(default_factory=dict)
    redone: int = 0
    data: dict[str, str] | None = None
    data_noted: bool = False

    @property
    def result_name(self) -> str:
        """Name of the result; in a record of an earlier version, the fingerprint."""
        return self.result or self.fingerprint

    @property
    def results_read(self) -> dict[str, str]:
        """Name of the result of each stage that was read, by name of the stage."""
        return self.reads if self.result else self.inputs

    @property
    def supervision(self) -> SupervisionCard | None:
        """The supervision card; None if the record has none or it cannot be read."""
        try:
            return None if self.card is None else card_from_json(self.card)
        except DataError:
            return None

    def save(self, folder: Path) -> None:
        """Writes the record into the stage's folder."""
        save_json(folder / RECORD_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> StageRecord | None:
        """Reads the record in a stage's folder; None if it is missing or damaged."""
        try:
            return cls(**load_json(folder / RECORD_FILE))
        except (DataError, TypeError):
            return None


def environment(workers: int) -> dict[str, Any]:
    """Versions, commit, machine and number of workers of this run."""
    versions = {
        'wsss_plugins': wsss_plugins.__version__,
        'python': platform.python_version(),
    }
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = 'not installed'
    gpu = torch.cuda.is_available()
    return dict(
        versions=versions,
        commit=_commit(),
        device=torch.cuda.get_device_name() if gpu else f'CPU ({platform.machine()})',
        threads=torch.get_num_threads(),
        workers=workers,
    )


@cache
def _commit() -> str:
    """The commit of the source tree, followed by ``+changes`` if files were edited."""
    folder = Path(wsss_plugins.__file__).parent

    def git(*arguments: str) -> str:
        """Runs a command of git and returns its output."""
        command = ['git', '-C', str(folder), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout

    try:
        commit = git('rev-parse', '--short=12', 'HEAD').strip()
        changed = git('status', '--porcelain', '--untracked-files=no', '.').strip()
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'
    return f'{commit}+changes' if changed else commit
