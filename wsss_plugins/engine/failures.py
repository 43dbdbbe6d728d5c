"""Images on which a stage fails: they are reported, left out and counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from wsss_plugins.engine.workers import gather, rank, share_of
from wsss_plugins.errors import DataError
from wsss_plugins.progress import ProgressBar
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.layout import FAILURES_FILE

T = TypeVar('T')


class Failures:
    """Collects the images on which a stage fails while it processes the others.

    The stage reports the number that :meth:`write` returns as its metric ``failed``. With
    ``--strict`` the pipeline then ends with an error, see :class:`Pipeline`. Stages that
    read this stage leave the same images out, see :func:`without_failed`.

    Args:
        out: Folder of the stage.
        bar: Progress bar of the stage, which must be open.
    """

    def __init__(self, out: Path, bar: ProgressBar) -> None:
        self.out = out
        self.bar = bar
        self.reasons: dict[str, str] = {}

    def add(self, name: str, reason: str) -> None:
        """Prints that image ``name`` is left out, with the reason, and records it."""
        self.bar.say(f'{self.out.name}: {name} left out: {reason}')
        # Paths are relative to the work dir, so that the list does not depend on it.
        self.reasons[name] = reason.replace(f'{self.out.parent}{os.sep}', '')

    @contextmanager
    def leaving_out(self, name: str) -> Iterator[None]:
        """Records a ``DataError`` that the block raises as a failure of image ``name``."""
        try:
            yield
        except DataError as error:
            self.add(name, str(error))

    def without(
        self, read: Mapping[int, T | DataError], ids: Sequence[str]
    ) -> dict[int, T]:
        """Records the images that could not be read, and returns the others.

        Args:
            read: What was read of each image, or the error, by its index; see
                :func:`~wsss_plugins.engine.flow.attempt`.
            ids: Ids of all images.
        """
        kept: dict[int, T] = {}
        for index, found in read.items():
            if isinstance(found, DataError):
                self.add(ids[index], str(found))
            else:
                kept[index] = found
        return kept

    def write(self, ids: Sequence[str]) -> int:
        """Writes the failures of all workers to ``failures.json``; every worker calls it.

        Args:
            ids: Ids of all images of the stage, in order.

        Returns:
            Number of images that failed.

        Raises:
            DataError: All images failed.
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
            path.unlink(missing_ok=True)  # the list of an earlier run
        return len(reasons)


def one_by_one(
    name: str,
    out: Path,
    ids: Sequence[str],
    file_of: Callable[[Path, str], Path],
    make: Callable[[int], None],
) -> int:
    """Makes the file of each image of this worker that has none yet.

    Args:
        name: Name of the stage, for its progress bar.
        out: Folder of the stage.
        ids: Ids of all images.
        file_of: The file of an image, from ``out`` and its id; one that is there is kept.
        make: Makes and writes the file of the image of an index. Its ``DataError`` leaves
            the image out.

    Returns:
        How many images failed, on all workers.
    """
    mine = share_of(range(len(ids)))
    todo = [index for index in mine if not file_of(out, ids[index]).is_file()]
    with ProgressBar(name, len(mine), quiet=rank() != 0) as bar:
        bar.begin_at(len(mine) - len(todo))
        failures = Failures(out, bar)
        for index in todo:
            with failures.leaving_out(ids[index]):
                make(index)
            bar.advance()
        return failures.write(ids)


def without_failed(dataset: Mapping[str, Any], *stages: Path) -> dict[str, Any]:
    """Changes the config of a data set to leave out images on which stages failed.

    Args:
        dataset: Config of the data set.
        stages: Folders of the stages whose files are read.

    Returns:
        A copy of the config; it has ``leave_out`` if a stage failed on an image.
    """
    paths = [stage / FAILURES_FILE for stage in stages]
    failed = {name for path in paths if path.is_file() for name in load_json(path)}
    return dict(dataset, leave_out=sorted(failed)) if failed else dict(dataset)
