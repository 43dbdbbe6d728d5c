"""Chooses the convention of an evaluation, and reports how many classes its mean covers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from wsss_plugins.datasets.configs import first_dataset
from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.metrics import (
    DEFAULT_CONVENTION,
    OWN_CONVENTION,
    SegmentationScores,
    convention_of,
)
from wsss_plugins.registry import find_type


def convention_for(dataset: Mapping[str, Any], given: str | None) -> str:
    """Chooses the convention by which an evaluation computes the mIoU.

    Args:
        dataset: Config of the images.
        given: Name of a convention; None for the default of the data set.

    Returns:
        ``given`` if it is a name. Otherwise :data:`OWN_CONVENTION` for a folder of one's
        own photos, whose masks need not show every class, and :data:`DEFAULT_CONVENTION`
        for all other data sets.

    Raises:
        ConfigError: ``given`` is not in :data:`CONVENTIONS`.
    """
    if given is not None:
        convention_of(given)
        return given
    node = first_dataset(dataset)
    kind = None if node is None else find_type(node.get('type'))
    fixed = getattr(kind, 'fixed_classes', True)
    return DEFAULT_CONVENTION if fixed else OWN_CONVENTION


def counted(scores: SegmentationScores, images: int, stage: str) -> dict[str, int]:
    """Reports over how many classes and images the mIoU of an evaluation is taken.

    A warning is logged if the convention counts absent classes as 0.

    Args:
        scores: Measures of the evaluation.
        images: Number of images that were measured.
        stage: Name of the stage, for the warning.

    Returns:
        The metrics ``classes`` and ``images``. If classes are absent from all masks and
        predictions, their number is ``absent_as_0`` or, if the convention leaves them
        out of the mean, ``absent_classes``.
    """
    found = dict(classes=scores.averaged_classes, images=images)
    left_out = len(scores.over or scores.confusion) - scores.averaged_classes
    if left_out:
        return found | dict(absent_classes=left_out)
    if scores.absent_classes:
        logging.getLogger('wsss_plugins').warning(
            f'{stage}: {scores.absent_classes} of {scores.averaged_classes} classes are in '
            f"no mask and no prediction, and the convention '{scores.convention}' counts "
            f"them as 0: convention='{OWN_CONVENTION}' leaves them out of the means"
        )
        found['absent_as_0'] = scores.absent_classes
    return found


def labels_of(
    names: Sequence[str], classes: Sequence[str], stage: str
) -> tuple[int, ...]:
    """Labels of the background and of some classes, in increasing order.

    Args:
        names: Names of foreground classes; none stands for all classes.
        classes: Names of all classes, background first.
        stage: Name of the stage, for the message.

    Returns:
        The labels; empty where ``names`` is.

    Raises:
        ConfigError: A name is no class of the data set.
    """
    for name in names:
        if name not in classes:
            raise ConfigError(
                f"stage '{stage}' has mean_over with '{name}', which is no class of its "
                f'data set: {near_names(name, classes[1:])}',
                token=name,
            )
    return tuple(sorted({0, *map(list(classes).index, names)})) if names else ()
