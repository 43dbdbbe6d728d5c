"""The data sets of an experiment, looked at before its first stage runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wsss_plugins.config import plain
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.datasets.configs import (
    bare_config,
    config_before_training,
    dataset_configs,
)
from wsss_plugins.datasets.look import Look, Looks
from wsss_plugins.errors import DataError
from wsss_plugins.registry import DATASETS, build_as


def look_at_data(
    configs: Iterable[Mapping[str, Any]], everything: bool = False, made: bool = False
) -> list[Look]:
    """Looks at every data set that stages name, once.

    Args:
        configs: Configs of stages.
        everything: Whether to decode all photos and masks, not a sample of them.
        made: Whether label maps to train on are there already; otherwise they are left
            out, since a stage makes them.

    Raises:
        DataError: A data set cannot be made.
    """
    looks = Looks(everything)
    found: dict[str, Look] = {}
    for config in configs:
        for node in dataset_configs(config):
            bare = (
                bare_config(node, require_images=False)
                if made
                else config_before_training(node, require_images=False)
            )
            ignored = ('test_mode', 'allow_ground_truth')
            same = {k: v for k, v in plain(bare).items() if k not in ignored}
            key = json.dumps(same, sort_keys=True, default=str)
            if key not in found:
                dataset = build_as(DATASETS, bare, WSSSDataset)
                found[key] = looks(dataset)
    return list(found.values())


def refuse_problems(looks: Sequence[Look]) -> None:
    """Refuses data that makes a stage fail, or a score wrong.

    Raises:
        DataError: Names the first problem and counts the others.
    """
    problems = list(dict.fromkeys(text for look in looks for text in look.problems))
    if problems:
        more = len(problems) - 1
        raise DataError(problems[0] + (f' (and {more} more problems)' if more else ''))
