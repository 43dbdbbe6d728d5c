"""Over what the means of an evaluation are taken, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log

from wsss_plugins.datasets.configs import first_dataset
from wsss_plugins.metrics import (
    DEFAULT_CONVENTION,
    OWN_CONVENTION,
    SegmentationScores,
    convention_of,
)
from wsss_plugins.registry import find_type


def convention_for(dataset: Mapping[str, Any], given: str | None) -> str:
    """The convention of an evaluation.

    Args:
        dataset: Config of the images.
        given: Name of a convention; None for the usual one of the data set.

    Returns:
        ``given``, or else :data:`OWN_CONVENTION` for a data set of one's own, whose masks
        need not show every class, or else :data:`DEFAULT_CONVENTION`.

    Raises:
        ConfigError: No convention has this name.
    """
    if given is not None:
        convention_of(given)
        return given
    node = first_dataset(dataset)
    kind = None if node is None else find_type(node.get('type'))
    fixed = getattr(kind, 'fixed_classes', True)
    return DEFAULT_CONVENTION if fixed else OWN_CONVENTION


def counted(scores: SegmentationScores, images: int, stage: str) -> dict[str, int]:
    """Metrics that say over how many classes and images a mean is.

    Absent classes that the convention counts as 0 are warned of.

    Args:
        scores: The measures.
        images: How many images were measured.
        stage: Name of the stage, for the warning.

    Returns:
        ``classes`` and ``images``; where classes are absent, ``absent_as_0`` or
        ``absent_classes``, which counts those that are not in the mean.
    """
    found = dict(classes=scores.averaged_classes, images=images)
    left_out = len(scores.confusion) - scores.averaged_classes
    if left_out:
        return found | dict(absent_classes=left_out)
    if scores.absent_classes:
        print_log(
            f'{stage}: {scores.absent_classes} of {scores.averaged_classes} classes are in '
            f"no mask and no prediction, and the convention '{scores.convention}' counts "
            f"them as 0: convention='{OWN_CONVENTION}' leaves them out of the means",
            logger='current',
            level=logging.WARNING,
        )
        found['absent_as_0'] = scores.absent_classes
    return found
