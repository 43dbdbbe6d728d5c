"""The numbers that mmengine and this package write while a training runs."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.engine.rates import RATES_FILE
from wsss_plugins.report.charts import Curve

LOG = 'vis_data/scalars.json'
POINTS = 150
"""Points of a curve, at most; each is the mean of its neighbours."""


def log_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of all logs of a training, the earliest sitting first.

    A line that is damaged, such as one that is being written, is left out.
    """
    lines = []
    for path in sorted(folder.glob(f'*/{LOG}')):
        try:
            text = path.read_text('utf-8', errors='replace')
        except OSError:
            continue
        for line in text.splitlines():
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if isinstance(content, dict):
                lines.append(content)
    return lines


def steps_of(folder: Path) -> int:
    """Number of iterations of a training; 0 if it has not begun, or is none."""
    tables = sorted(folder.glob(f'*/{RATES_FILE}'))
    try:
        _, *rows = tables[-1].read_text('utf-8').splitlines()
        return int(rows[-1].split(',')[1]) + 1
    except (OSError, ValueError, IndexError):
        return 0


def last_step(folder: Path) -> int:
    """The last iteration of a training that its log tells of."""
    steps = (line.get('iter') for line in log_lines(folder))
    return max((step for step in steps if isinstance(step, int)), default=0)


def training_curves(folder: Path) -> tuple[list[Curve], list[Curve]]:
    """The losses against iterations, and the validation against epochs, of a training.

    Numbers of a later sitting replace those of an earlier one at the same place.
    """
    losses: dict[str, dict[int, float]] = defaultdict(dict)
    checks: dict[str, dict[int, float]] = defaultdict(dict)
    for line in log_lines(folder):
        training = 'loss' in line
        step = line.get('iter' if training else 'step')
        if not isinstance(step, int):
            continue
        for key, value in line.items():
            if not isinstance(value, int | float) or not np.isfinite(value):
                continue
            if training and key.rsplit('.', 1)[-1].startswith('loss'):
                losses[key][step] = float(value)
            elif not training and key.rsplit('/', 1)[-1] in ('mAP', 'mIoU'):
                checks[key][step] = float(value)
    return _curves(losses), _curves(checks)


def _curves(numbers: dict[str, dict[int, float]]) -> list[Curve]:
    """Curves of at most :data:`POINTS` points; one that equals an earlier one is left out.

    A single point is no curve.
    """
    curves: list[Curve] = []
    for name, points in numbers.items():
        if len(points) < 2:
            continue
        places = sorted(points)
        parts = np.array_split(np.array(places), min(POINTS, len(places)))
        values = [float(np.mean([points[int(p)] for p in part])) for part in parts]
        ends = [int(part[-1]) for part in parts]
        if not any(curve.values == values for curve in curves):
            curves.append(Curve(name, ends, values))
    return curves
