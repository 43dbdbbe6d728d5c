"""Thresholds of background policies that are found at run time."""

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
    """Reads the best threshold that an evaluation stage found.

    Raises:
        DataError: The folder ``stage`` has no record with the metric ``best_threshold``.
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
    """Computes a threshold from the scores of all seeds, without masks.

    Every worker gets the same threshold. It is stored in ``threshold.json``, so that a
    run that continues after an interruption uses the same one even if damaged seeds were
    repaired in between.

    Args:
        task: The task, which names the seeds.
        ids: Ids of the images. Missing and damaged seeds are skipped.
        criterion: Name of the criterion, see :func:`label_free_threshold`.
        foreground_share: Argument of :func:`label_free_threshold`.
        normalise: True to scale the scores of every class to [0, 1] first.

    Returns:
        The threshold, in (0, 1).

    Raises:
        DataError: All scores are equal, or all seeds are missing or damaged.
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
            continue  # refining it fails, with a message that names it
        total += score_histogram((seed.normalised() if normalise else seed).scores)
    histogram = np.sum(gather(total), axis=0)
    if not histogram.any():
        task.load_seed(ids[0])  # raises an error that names the fault
    threshold = label_free_threshold(histogram, criterion, foreground_share)
    if rank() == 0:
        save_json(path, dict(threshold=threshold, criterion=criterion))
    return threshold
