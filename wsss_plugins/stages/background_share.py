"""How much background label maps have, compared with the seeds that they were made of."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from wsss_plugins.engine.workers import barrier, gather, rank, share_of
from wsss_plugins.errors import DataError
from wsss_plugins.refiners import BackgroundPolicy
from wsss_plugins.registry import REFINERS, build_as, find_type
from wsss_plugins.stages.refine_jobs import RefineTask
from wsss_plugins.structures import load_label_map
from wsss_plugins.structures.layout import label_path

SAMPLE = 100
"""The most images whose seeds are cut for the comparison."""

LOST = 0.5
"""Label maps that lose more than this share of the background of their seeds are warned of."""


def background_metrics(task: RefineTask, ids: Sequence[str]) -> dict[str, Any]:
    """Share of background in the label maps of a task, with a warning where it is lost.

    Args:
        task: What was refined, with the threshold that was taken.
        ids: Ids of the images; those without a label map do not count.

    Returns:
        ``background_share``, the mean over the images of the share of pixels that are
        background; ``one_class``, how many label maps are one class everywhere, if any;
        and ``seed_background_share``, what :data:`SAMPLE` of the seeds have at the
        threshold, where the label maps of the same images lose more than :data:`LOST` of it.
    """
    sample = set(ids[:: max(1, -(-len(ids) // SAMPLE))])
    policy = _policy(task.refiners)
    rows: list[tuple[float, bool, float]] = []  # labels, one class, seeds
    barrier()  # other workers wrote label maps of this share
    for name in share_of(ids):
        try:
            label = load_label_map(label_path(task.out, name))
        except DataError:
            continue  # the image failed, or whoever reads the map says what is wrong
        cut = np.nan
        if policy is not None and name in sample:
            cut = _cut(task, name, policy)
        share = float((label == 0).mean())
        rows.append((share, bool((label == label.flat[0]).all()), cut))
    table = np.array([row for part in gather(rows) for row in part], float).reshape(
        -1, 3
    )
    if not len(table):
        return {}
    found: dict[str, Any] = dict(background_share=round(float(table[:, 0].mean()), 4))
    one_class = int(table[:, 1].sum())
    if one_class:
        found['one_class'] = one_class
    both = table[~np.isnan(table[:, 2])]
    if len(both) and both[:, 0].mean() < (1 - LOST) * both[:, 2].mean():
        found['seed_background_share'] = round(float(both[:, 2].mean()), 4)
    if rank() == 0:
        for doubt in background_doubts(found, len(table)):
            logging.getLogger('wsss_plugins').warning(f'{task.out.name}: {doubt}')
    return found


def background_doubts(metrics: Mapping[str, Any], count: int) -> list[str]:
    """What is doubtful in the metrics of :func:`background_metrics`, a line each.

    Args:
        metrics: The metrics of a refine stage.
        count: How many label maps there are.
    """
    said = []
    if metrics.get('one_class'):
        said.append(
            f'{metrics["one_class"]} of {count} label maps are one class everywhere: look '
            'at some of them, and at the threshold'
        )
    if 'seed_background_share' in metrics:
        said.append(
            f'{metrics["seed_background_share"]:.1%} of the pixels of the seeds are '
            f'background at this threshold, and {metrics["background_share"]:.1%} of those '
            'of the label maps: the refiners take the background away, so try a higher '
            'threshold'
        )
    return said


def _policy(refiners: Sequence[Mapping[str, Any]]) -> BackgroundPolicy | None:
    """The first background policy of a chain."""
    for cfg in refiners:
        kind = find_type(cfg.get('type'), REFINERS)
        if isinstance(kind, type) and issubclass(kind, BackgroundPolicy):
            return build_as(REFINERS, dict(cfg), BackgroundPolicy)
    return None


def _cut(task: RefineTask, name: str, policy: BackgroundPolicy) -> float:
    """Share of background of a seed at the threshold; NaN of a broken seed."""
    try:
        seed = task.load_seed(name)
        image = torch.zeros(
            3, *seed.size, dtype=torch.uint8
        )  # a policy looks at scores
        return float((policy.refine(image, seed).to_label() == 0).float().mean())
    except DataError:
        return float('nan')
