"""The schedule of IRN, AFA and ToCo, and the optimiser of IRN."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import OptimWrapper

from wsss_plugins.errors import ConfigError
from wsss_plugins.segmentors import IRNRates, WarmUpPolyLR


def rates(steps: int, **kwargs) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = WarmUpPolyLR(optimizer, **kwargs)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        schedule.step()
    return found


def test_falls_from_the_full_rate_and_stays() -> None:
    found = rates(6, power=2, end=4)
    assert found == pytest.approx([2, 2 * 9 / 16, 0.5, 0.125, 0.125, 0.125])


@pytest.mark.parametrize('warm_up', [2, 0.5])
def test_the_warm_up_counts_in_the_fall(warm_up: float) -> None:
    found = rates(4, power=1, warm_up=warm_up, ratio=0.5, end=4)
    assert found == pytest.approx([1, 1.5, 1, 0.5])


@pytest.mark.parametrize(
    'wrong', [dict(by_epoch=True), dict(power=-1), dict(ratio=0), dict(warm_up=-1)]
)
def test_refuses_numbers_out_of_range(wrong: dict) -> None:
    with pytest.raises(ConfigError, match='WarmUpPolyLR needs'):
        rates(1, **wrong)


def test_a_wrong_preset_or_momentum_is_refused() -> None:
    sgd = dict(type='SGD', lr=0.1, weight_decay=0.01)
    with pytest.raises(ConfigError, match="unknown preset 'papers'"):
        IRNRates(dict(type=OptimWrapper, optimizer=sgd), dict(preset='papers'))
    with pytest.raises(ConfigError, match=r'leave optimizer\.momentum out'):
        IRNRates(dict(type=OptimWrapper, optimizer=dict(sgd, momentum=0.9)))
