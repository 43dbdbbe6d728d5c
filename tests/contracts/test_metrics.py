"""What every metric of METRICS must keep to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mmengine.evaluator import BaseMetric

import wsss_plugins.metrics  # noqa: F401  (registers)
from wsss_plugins.errors import DataError
from wsss_plugins.registry import METRICS


def _image_labels(rng: np.random.Generator) -> dict:
    return dict(pred_score=rng.random(3), gt_label=rng.integers(0, 2, 3))


def _errors(rng: np.random.Generator) -> dict:
    return dict(pred_error=rng.random(), variance=1 + rng.random())


SAMPLES: dict[str, Callable[[np.random.Generator], dict]] = {
    'MendedPixels': _errors,
    'MultiLabelAP': _image_labels,
}
"""How to make one random data sample for each metric; a new metric adds a line."""

METRIC_NAMES = sorted(
    name for name, cls in METRICS.module_dict.items() if issubclass(cls, BaseMetric)
)


def evaluate(name: str, samples: list[dict], chunk: int) -> dict[str, float]:
    metric = METRICS.build(dict(type=name))
    for start in range(0, len(samples), chunk):
        metric.process(None, samples[start : start + chunk])
    return metric.evaluate(len(samples))


def make_samples(name: str) -> list[dict]:
    rng = np.random.default_rng(0)
    return [SAMPLES[name](rng) for _ in range(9)]


def test_every_metric_has_samples() -> None:
    assert set(SAMPLES) == set(METRIC_NAMES)


@pytest.mark.parametrize('name', METRIC_NAMES)
def test_chunks_do_not_matter(name: str) -> None:
    samples = make_samples(name)
    whole = evaluate(name, samples, 9)
    assert whole
    assert evaluate(name, samples, 4) == evaluate(name, samples, 1) == whole


@pytest.mark.parametrize('name', METRIC_NAMES)
def test_results_are_percentages_that_depend_on_the_samples(name: str) -> None:
    samples = make_samples(name)
    found = evaluate(name, samples, 9)
    counts = {k: found[k] for k in found if k.endswith(('classes', 'images'))}
    assert all(isinstance(v, int) and v > 0 for v in counts.values())
    shares = [v for k, v in found.items() if k not in counts]
    assert shares and all(isinstance(v, float) and 0 <= v <= 100 for v in shares)
    assert evaluate(name, samples[:3], 3) != found


@pytest.mark.parametrize('name', METRIC_NAMES)
def test_a_second_evaluation_starts_afresh(name: str) -> None:
    metric = METRICS.build(dict(type=name))
    samples = make_samples(name)
    metric.process(None, samples)
    first = metric.evaluate(9)
    metric.process(None, samples)
    assert metric.evaluate(9) == first


@pytest.mark.parametrize('name', METRIC_NAMES)
def test_no_sample_is_a_data_error(name: str) -> None:
    with pytest.raises(DataError, match='the id list is empty'):
        METRICS.build(dict(type=name)).evaluate(0)
