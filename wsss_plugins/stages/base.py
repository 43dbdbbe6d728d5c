"""Stages, the record each leaves, and the pipeline that runs them in order."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from wsss_plugins.config import plain
from wsss_plugins.errors import ConfigError


class Stage(ABC):
    """One step of a pipeline: from the folders of earlier stages to a folder of its own.

    A subclass names the stages it reads in :attr:`inputs` and does its work in
    :meth:`run`, which every worker calls.

    Args:
        name: Name of the stage and of its folder.

    Attributes:
        inputs: Names of the stages it reads.
        seed: Random seed of the experiment, set by the pipeline.
    """

    needs_every_image: ClassVar[bool] = True
    """Whether an image that is missing is refused before any work; False where the stage
    goes on without, see :class:`~wsss_plugins.stages.failures.Failures`, or reads none."""

    arguments_of_speed: ClassVar[frozenset[str]] = frozenset()
    """Arguments that change how fast it is and nothing else, such as ``workers``."""

    def __init__(self, name: str) -> None:
        if not name.isidentifier():
            raise ConfigError(
                f"a stage's name must be letters, digits and _, not '{name}'",
                token=name,
            )
        self.name = name
        self.inputs: tuple[str, ...] = ()
        self.seed = 0

    @abstractmethod
    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Does the work; when it was interrupted, goes on with what is there.

        Args:
            out: Folder to write to, and nowhere else.
            inputs: Folder of each stage of :attr:`inputs`.

        Returns:
            The metrics, as plain numbers, the same for every worker.
        """

    def provenance(self) -> dict[str, Any]:
        """How the metrics were made, for people to read: data, threshold, scales ..."""
        return {}


def fingerprint(config: Any, seed: int, inputs: dict[str, str]) -> str:
    """A hash of all that a stage's result follows from.

    Args:
        config: The config of the stage.
        seed: The seed of the experiment.
        inputs: Fingerprint of each stage it reads.

    Returns:
        16 hexadecimal digits.
    """
    content = json.dumps([plain(config), seed, inputs], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
