"""Images that a stage goes on without: named at once, counted at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wsss_plugins.engine.workers import gather, rank
from wsss_plugins.errors import DataError
from wsss_plugins.progress import ProgressBar
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.layout import FAILURES_FILE


class Failures:
    """What went wrong with single images while a stage goes on with the others.

    The stage gives the count that :meth:`write` returns as its metric ``failed``; under
    ``--strict`` the pipeline ends there with an error, see :class:`Pipeline`. A stage
    that reads this one leaves these images out too, see :func:`without_failed`.

    Args:
        out: Folder of the stage.
        bar: Its progress bar, which must be open.
    """

    def __init__(self, out: Path, bar: ProgressBar) -> None:
        self.out = out
        self.bar = bar
        self.reasons: dict[str, str] = {}

    def add(self, name: str, reason: str) -> None:
        """Says that image ``name`` is left out, and why: a line that names the file."""
        self.bar.say(f'{self.out.name}: {name} left out: {reason}')
        # The list does not depend on where the work dir lies.
        self.reasons[name] = reason.replace(f'{self.out.parent}{os.sep}', '')

    @contextmanager
    def leaving_out(self, name: str) -> Iterator[None]:
        """Turns a ``DataError`` of the block into a failure of image ``name``."""
        try:
            yield
        except DataError as error:
            self.add(name, str(error))

    def write(self, ids: Sequence[str]) -> int:
        """Lists the failures of all workers in ``failures.json``; every worker calls it.

        Args:
            ids: All images of the stage, in order.

        Returns:
            How many failed.

        Raises:
            DataError: All of them failed.
        """
        found = {
            name: why for part in gather(self.reasons) for name, why in part.items()
        }
        reasons = {name: found[name] for name in ids if name in found}
        if ids and len(reasons) == len(ids):
            raise DataError(
                f"stage '{self.out.name}': all of {len(ids)} images failed, "
                f'{ids[0]} since {reasons[ids[0]]}'
            )
        path = self.out / FAILURES_FILE
        if rank() == 0 and reasons:
            save_json(path, reasons)
            self.bar.say(
                f'{self.out.name}: {len(reasons)} of {len(ids)} images failed, see {path}'
            )
        elif rank() == 0:
            path.unlink(missing_ok=True)  # of an earlier run
        return len(reasons)


def without_failed(dataset: Mapping[str, Any], *stages: Path) -> dict[str, Any]:
    """The config of a data set without the images that earlier stages went on without.

    Args:
        dataset: Its config.
        stages: Folders of the stages whose artefacts are read.

    Returns:
        The config, with ``leave_out`` if there are any.
    """
    paths = [stage / FAILURES_FILE for stage in stages]
    failed = {name for path in paths if path.is_file() for name in load_json(path)}
    return dict(dataset, leave_out=sorted(failed)) if failed else dict(dataset)
