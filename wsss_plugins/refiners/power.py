"""Raises the scores of a seed to a power."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners.base import Refiner
from wsss_plugins.registry import REFINERS
from wsss_plugins.structures import Seed


@REFINERS.register_module()
class PowerScores(Refiner):
    """Scales the scores of every class to [0, 1] and raises them to a power.

    A power below 1 raises weak scores; put this refiner before a background policy.
    Relevance maps of transformers are peaked: Athanasiadis, Moschovis and Tuoma,
    ReScience C 2022, take the cube root in their code.

    Args:
        power: The exponent, > 0.

    Raises:
        ConfigError: The power is not positive.
    """

    def __init__(self, power: float = 1 / 3) -> None:
        if not power > 0:
            raise ConfigError(f'power of PowerScores must be > 0, not {power}')
        self.power = power

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Returns the seed with new scores and the same background."""
        scores = seed.normalised().scores if len(seed.classes) else seed.scores
        return replace(seed, scores=scores**self.power)
