"""How published evaluations turn pixel counts into one number."""

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
    """What one published evaluation does.

    Attributes:
        source: Where it is from.
        averaged: Classes a mean runs over: ``'all'``, absent ones counting as 0;
            ``'found'`` in ground truth or prediction; ``'target'`` in ground truth.
        errors_per: What the wrong pixels of a class are divided by: the ``'union'`` of
            truth and prediction, or the ``'hit'`` pixels, the true positives.
        background_errors: Whether the mean error rates include the background.
        stops_early: Whether the search for a threshold takes the first that the next
            one does not improve on, and not the best of all.
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
    }
)
"""Published evaluations by name."""


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
