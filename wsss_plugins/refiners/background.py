"""Background policies: the score of the background at every pixel."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.refiners.base import Refiner
from wsss_plugins.refiners.threshold import FOREGROUND_SHARE, otsu, score_histogram
from wsss_plugins.registry import REFINERS
from wsss_plugins.structures import Seed

LEAST = 0.01
"""The lowest background score of a pixel that is background."""


class BackgroundPolicy(Refiner):
    """Sets ``seed.background`` from the scores alone; a subclass gives the rule.

    A pixel is background where no class exceeds its background score, as in evaluations
    of seeds; there the score is at least :data:`LEAST`. Where a threshold of 0 meets maps
    that are exactly 0, a refiner that compares probabilities, such as a dense CRF, would
    otherwise find background and classes equally likely, and end without background.

    Args:
        normalise: Whether to scale the scores of every class to [0, 1] first. If False,
            they must be in that range already.
    """

    label_free: ClassVar[bool] = False
    """Whether the background is computed from the seeds rather than a given number."""

    def __init__(self, normalise: bool = True) -> None:
        self.normalise = normalise

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Returns the seed, its scores perhaps normalised, with a new background."""
        if self.normalise:
            seed = seed.normalised()
        # Class scores are >= 0; the zero stands for an image without any class.
        zero = seed.scores.new_zeros(1, *seed.size)
        strongest = torch.cat([zero, seed.scores]).amax(0)
        background = self.background(strongest)
        tied = strongest <= background
        return replace(
            seed, background=background.where(~tied, background.clamp(min=LEAST))
        )

    @abstractmethod
    def background(self, strongest: Tensor) -> Tensor:
        """Background ``(H, W)`` from the highest class score ``(H, W)``, in [0, 1]."""


@REFINERS.register_module()
class ConstantBackground(BackgroundPolicy):
    """Gives every pixel the same background score, as in evaluations of seeds.

    Args:
        threshold: The score, in [0, 1]. The default is MCTformer's (Xu et al. 2022).
        normalise: See :class:`BackgroundPolicy`.

    Raises:
        ConfigError: The threshold is outside [0, 1].
    """

    def __init__(self, threshold: float = 0.39, normalise: bool = True) -> None:
        super().__init__(normalise)
        if not 0 <= threshold <= 1:
            raise ConfigError(
                f'threshold of ConstantBackground must be in [0, 1], not {threshold}'
            )
        self.threshold = threshold

    def background(self, strongest: Tensor) -> Tensor:
        """``threshold`` everywhere."""
        return torch.full_like(strongest, self.threshold)


@REFINERS.register_module()
class PowerBackground(BackgroundPolicy):
    """The background score ``(1 - max_c s_c) ** alpha``.

    Source: Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level
    Supervision" (PSA), CVPR 2018, eq. 2. A low alpha gives a strong background
    (4 for confident objects), a high one a weak background (24 or 32).

    Args:
        alpha: The exponent, > 0. The default is PSA's for its random walk.
        normalise: See :class:`BackgroundPolicy`.

    Raises:
        ConfigError: ``alpha`` is not positive.
    """

    def __init__(self, alpha: float = 16.0, normalise: bool = True) -> None:
        super().__init__(normalise)
        if not alpha > 0:
            raise ConfigError(f'alpha of PowerBackground must be > 0, not {alpha}')
        self.alpha = alpha

    def background(self, strongest: Tensor) -> Tensor:
        """``(1 - strongest) ** alpha``, 0 where the score exceeds 1."""
        return (1 - strongest).clamp_(min=0) ** self.alpha


@REFINERS.register_module()
class QuantileBackground(BackgroundPolicy):
    """The score that the same share of every image exceeds, constant over the image.

    The policy suits objects of known size and seeds whose scores are not comparable
    between images. The criterion ``'foreground_share'`` of :func:`label_free_threshold`
    applies the same rule to a whole data set, so that objects may be larger in one
    image than in another.

    Source: Doyle, JACM 1962 (p-tile thresholding).

    Args:
        foreground_share: Share of the pixels that are foreground, in (0, 1).
        normalise: See :class:`BackgroundPolicy`.

    Raises:
        ConfigError: ``foreground_share`` is outside (0, 1).
    """

    label_free = True

    def __init__(
        self, foreground_share: float = FOREGROUND_SHARE, normalise: bool = True
    ) -> None:
        super().__init__(normalise)
        if not 0 < foreground_share < 1:
            raise ConfigError(
                'foreground_share of QuantileBackground must be in (0, 1), not '
                f'{foreground_share}'
            )
        self.foreground_share = foreground_share

    def background(self, strongest: Tensor) -> Tensor:
        """The quantile ``1 - foreground_share`` of the image, without interpolation."""
        rank = max(1, round((1 - self.foreground_share) * strongest.numel()))
        quantile = strongest.flatten().kthvalue(rank).values
        return quantile.expand_as(strongest).clone()


@REFINERS.register_module()
class OtsuBackground(BackgroundPolicy):
    """The threshold of each image that best separates its scores, see :func:`otsu`.

    An image whose scores are all equal is background everywhere.

    Source: Otsu, IEEE SMC 1979.

    Args:
        normalise: See :class:`BackgroundPolicy`.
    """

    label_free = True

    def background(self, strongest: Tensor) -> Tensor:
        """Otsu's threshold of the image, or its score if all scores are equal."""
        try:
            threshold = otsu(score_histogram(strongest[None].cpu().numpy()))
        except DataError:  # all scores fall into one bin
            return strongest.clone()
        return torch.full_like(strongest, threshold)
