"""The machine that runs stages and knows none of them.

What a stage is, what its result follows from, the record it leaves, the workers that
share it, the images it goes on without, and the Runner that trains.
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
