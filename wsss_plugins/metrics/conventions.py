"""The conventions of published evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from wsss_plugins.errors import ConfigError, near_names

Averaged = Literal['all', 'found', 'target']
ErrorsPer = Literal['union', 'hit']


@dataclass(frozen=True)
class Convention:
    """The convention of one published evaluation.

    Attributes:
        source: Publication of the evaluation.
        averaged: Classes of a mean: ``'all'`` classes, absent ones counting as 0; those
            ``'found'`` in ground truth or prediction; or those of the ``'target'``, the
            ground truth.
        errors_per: Denominator of the error rates of a class: the ``'union'`` of ground
            truth and prediction, or the ``'hit'`` pixels, the true positives.
        background_errors: Whether the mean error rates include the background.
        stops_early: Whether the search for a threshold stops at the first threshold
            that the next one does not improve on, instead of taking the best of all.
    """

    source: str
    averaged: Averaged = 'all'
    errors_per: ErrorsPer = 'union'
    background_errors: bool = True
    stops_early: bool = False


CONVENTIONS: Mapping[str, Convention] = MappingProxyType(
    {
        'acr': Convention('OpenNLPLab/ACR_WSSS evaluation.py'),
        'mctformer': Convention('xulianuwa/MCTformer evaluation.py', stops_early=True),
        'irn': Convention(
            'jiwoon-ahn/irn eval_cam.py, eval_sem_seg.py',
            averaged='found',
            background_errors=False,
        ),
        'seam': Convention(
            'Wang et al., CVPR 2020, mFP and mFN; mIoU of its evaluation.py',
            errors_per='hit',
            background_errors=False,
        ),
        'deeplab': Convention(
            'kazuto1011/deeplab-pytorch metric.py', averaged='target'
        ),
        'present': Convention(
            'no publication: for masks that need not show every class', averaged='found'
        ),
    }
)
"""Published evaluations by name, and one for data of one's own."""

DEFAULT_CONVENTION = 'acr'
"""The evaluation that every stage and metric follows unless its config names another, so
that two numbers of the same maps agree. The classes of a benchmark are all counted; for
data of one's own see :data:`OWN_CONVENTION`."""


OWN_CONVENTION = 'present'
"""The evaluation of data sets of one's own, whose masks need not show every class: a class
that is in no mask and no prediction is not in the mean."""


def convention_of(name: str) -> Convention:
    """Looks a convention up.

    Raises:
        ConfigError: No convention has this name.
    """
    if name not in CONVENTIONS:
        raise ConfigError(
            f"unknown convention '{name}': {near_names(name, CONVENTIONS)}", token=name
        )
    return CONVENTIONS[name]
