"""What all runs of kill_campaign.py share: the package, and the digests of its code.

The process of which the runs are forks imports this module once.
"""

from __future__ import annotations

from pathlib import Path

import wsss_plugins.command.run  # noqa: F401  (what a run imports)
from wsss_plugins.config import load_config
from wsss_plugins.engine.code_digests import CodeDigests
from wsss_plugins.experiment import Pipeline

CONFIG = Path(__file__).with_name('kill_pipeline.py')
SOURCES = CodeDigests()
Pipeline(load_config(CONFIG), sources=SOURCES)
