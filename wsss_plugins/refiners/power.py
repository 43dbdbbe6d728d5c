"""Scales the scores of a seed: to a power, or by the largest of them."""

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


@REFINERS.register_module()
class LargestScore(Refiner):
    """Divides the scores of all classes by the largest of them.

    Unlike a background policy with ``normalise=True``, which scales every class by itself,
    it keeps the proportions of the classes: put a policy with ``normalise=False`` behind it.

    Source: Ahn, Cho and Kwak (IRN), CVPR 2019, in the released code after the random walk.
    """

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Returns the seed with new scores and the same background."""
        largest = seed.scores.max() if seed.scores.numel() else seed.scores.new_ones(())
        return replace(seed, scores=seed.scores / largest.where(largest > 0, 1))
