"""PowerScores: a power of scores in [0, 1], and what it does to the background."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import PowerBackground, PowerScores
from wsss_plugins.structures import Seed

IMAGE = torch.zeros(3, 2, 3, dtype=torch.uint8)


def test_is_a_power_of_the_normalised_scores() -> None:
    scores = torch.tensor([[[2.0, 4.0, 6.0], [10.0, 6.0, 2.0]]])
    background = torch.full((2, 3), 0.3)
    seed = Seed(scores, torch.tensor([4]), background)
    refined = PowerScores(power=0.5)(IMAGE, seed)
    wanted = torch.tensor([[[0, 0.25, 0.5], [1, 0.5, 0]]]).sqrt()
    torch.testing.assert_close(refined.scores, wanted, atol=1e-6, rtol=0)
    assert torch.equal(refined.background, background)


def test_a_root_takes_from_the_background() -> None:
    seed = Seed(torch.rand(2, 2, 3), torch.tensor([0, 1]))
    background = PowerBackground(4)
    plain = background(IMAGE, seed)
    lifted = background(IMAGE, PowerScores(1 / 3)(IMAGE, seed))
    assert (lifted.background <= plain.background + 1e-6).all()
    assert lifted.background.sum() < plain.background.sum()


@pytest.mark.parametrize('power', [0, -1, float('nan')])
def test_refuses_other_powers(power: float) -> None:
    with pytest.raises(ConfigError, match='power of PowerScores must be > 0'):
        PowerScores(power)
