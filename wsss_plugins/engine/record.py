"""What a finished stage leaves in writing: its metrics and how they were made."""

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
from wsss_plugins.structures.card_json import card_from_json
from wsss_plugins.structures.layout import RECORD_FILE

PACKAGES = ('torch', 'timm', 'onedl-mmengine', 'onedl-mmsegmentation', 'numpy')


@dataclass
class StageRecord:
    """The record of one stage.

    Attributes:
        stage: Its name.
        kind: Its class.
        fingerprint: Hash of its config, the seed, the data and its inputs.
        inputs: Fingerprint of each stage it read.
        seed: Random seed of the experiment.
        done: False while it runs or after it was interrupted.
        metrics: What it measured.
        provenance: How, for people to read.
        seconds: Time it took, in this last run.
        finished: Local time of its end, ISO 8601.
        environment: Versions, commit, machine and number of workers.
        card: The supervision card of the metrics, as JSON knows it; None for a stage that
            measures nothing, and in records of versions without cards.
        code: The code that made the result, see
            :class:`~wsss_plugins.engine.code_digests.CodeDigests`; None in records of
            versions that did not record it.
        accepted: Other code for which the result is kept nevertheless: the user said
            ``--accept-code``, or the code that made it is not known.
        result: Name of the result, which those who read it note; '' in such records.
        reads: Result of each stage it read, by its name; empty in such records.
        redone: How often it was done again with ``--redo``.
        data: Hash of the files that it read from outside of the work dir, by what they are,
            see :class:`~wsss_plugins.engine.contents.Content`; None in records of versions
            that did not record it.
        data_noted: Whether ``data`` was noted after the result was made, by a version
            which records it.
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
        """Name of the result; of an earlier version's, the fingerprint."""
        return self.result or self.fingerprint

    @property
    def results_read(self) -> dict[str, str]:
        """Name of the result of each stage it read."""
        return self.reads if self.result else self.inputs

    @property
    def supervision(self) -> SupervisionCard | None:
        """The supervision card; None when there is none to trust."""
        try:
            return None if self.card is None else card_from_json(self.card)
        except DataError:
            return None

    def save(self, folder: Path) -> None:
        """Writes the record into the stage's folder."""
        save_json(folder / RECORD_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> StageRecord | None:
        """Reads the record of a stage's folder, or None when there is none to trust."""
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
    """The commit of the source tree, with ``+changes`` when it has any."""
    folder = Path(wsss_plugins.__file__).parent

    def git(*arguments: str) -> str:
        """What a command of git prints."""
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
