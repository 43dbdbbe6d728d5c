"""The threshold of a background policy, where it is no number in the config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsss_plugins.engine.record import StageRecord
from wsss_plugins.engine.workers import gather, rank, share_of
from wsss_plugins.errors import DataError
from wsss_plugins.progress import track
from wsss_plugins.refiners.threshold import (
    NUM_BINS,
    label_free_threshold,
    score_histogram,
)
from wsss_plugins.stages.refine_jobs import RefineTask
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.layout import THRESHOLD_FILE


def best_threshold(stage: Path) -> float:
    """The best threshold that an evaluation stage found.

    Raises:
        DataError: The stage has none.
    """
    record = StageRecord.load(stage)
    if record is None or 'best_threshold' not in record.metrics:
        raise DataError(f'{stage} has no best threshold: name a stage that sweeps one')
    return float(record.metrics['best_threshold'])


def threshold_of_seeds(
    task: RefineTask,
    ids: Sequence[str],
    criterion: str,
    foreground_share: float,
    normalise: bool,
) -> float:
    """A threshold from all seeds of a task, without any mask; the same for every worker.

    It is kept in ``threshold.json``, so that a run that goes on takes the same one even
    when broken seeds were mended in between.

    Args:
        task: What is to be refined.
        ids: Ids of the images. A seed that is missing or broken does not count.
        criterion: See :func:`label_free_threshold`.
        foreground_share: Likewise.
        normalise: Whether to scale the scores of every class to [0, 1] first.

    Returns:
        In (0, 1).

    Raises:
        DataError: The seeds score the same everywhere, or all are broken.
    """
    path = task.out / THRESHOLD_FILE
    if path.is_file():
        return float(load_json(path)['threshold'])
    total = np.zeros(NUM_BINS, np.int64)
    mine = share_of(ids)
    title = f'{task.out.name}: {criterion}'
    for name in track(mine, title, len(mine), quiet=rank() != 0):
        try:
            seed = task.load_seed(name)
        except DataError:
            continue  # it fails, and is named, when it is refined
        total += score_histogram((seed.normalised() if normalise else seed).scores)
    histogram = np.sum(gather(total), axis=0)
    if not histogram.any():
        task.load_seed(ids[0])  # says what is wrong with it and all the others
    threshold = label_free_threshold(histogram, criterion, foreground_share)
    if rank() == 0:
        save_json(path, dict(threshold=threshold, criterion=criterion))
    return threshold
