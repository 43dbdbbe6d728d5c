"""The engine that runs stages; it imports no stage.

It has the base class of stages, fingerprints and digests of what a result depends on,
records of finished stages, worker processes, the list of images on which a stage failed,
and the Runner that trains models.
"""

from wsss_plugins.engine.record import StageRecord
from wsss_plugins.engine.runner import (
    EpochSeedHook,
    ProgressHook,
    ResumePointHook,
    WSSSRunner,
)
from wsss_plugins.engine.stage import Stage

__all__ = [
    'EpochSeedHook',
    'ProgressHook',
    'ResumePointHook',
    'Stage',
    'StageRecord',
    'WSSSRunner',
]
