"""Pixel-adaptive refinement: averages scores over neighbours of similar colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners.base import Refiner, check_batch
from wsss_plugins.registry import REFINERS
from wsss_plugins.structures import Seed

DILATIONS = (1, 2, 4, 8, 12, 24)
PIXELS_AT_ONCE = 2**19
"""Maximum number of pixels whose kernels are in memory, unless one image has more."""


def neighbours(maps: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """Views of maps moved by each offset of dilated 3x3 windows, without the centre.

    Args:
        maps: ``(N, C, H, W)``; outside the map the value of the border pixel is used.
        dilations: Pixels between the points of each window.

    Yields:
        ``(N, C, H, W)``, eight per dilation, row by row.
    """
    height, width = maps.shape[2:]
    reach = max(dilations)
    padded = F.pad(maps, [reach] * 4, mode='replicate')
    for dilation in dilations:
        for dy in (-dilation, 0, dilation):
            for dx in (-dilation, 0, dilation):
                if dy or dx:
                    y, x = reach + dy, reach + dx
                    yield padded[..., y : y + height, x : x + width]


@REFINERS.register_module()
class PAMR(Refiner):
    """Averages scores over dilated neighbourhoods, weighted by colour similarity.

    ``s_i <- sum_j a_ij s_j`` with
    ``a_ij = softmax_j(-mean_c |I_ci - I_cj| / (width * sigma_ci))``, j over the
    neighbours of i at all dilations together and ``sigma_ci`` the standard deviation
    of channel c over them.

    Source: Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels",
    CVPR 2020, "Pixel-adaptive mask refinement"; settings of the released code. A pixel
    whose neighbours all have its colour keeps its scores, since the quotient is 0 / 0.

    Args:
        iterations: How often to average, >= 0.
        dilations: Pixels between the points of each 3x3 window.
        width: The factor of sigma.

    Raises:
        ConfigError: A number out of range.
    """

    power: ClassVar[int] = 1
    """Exponent of the colour distances."""
    sigma_counts_centre: ClassVar[bool] = True
    """Whether sigma is taken over the centre of each window too."""
    keeps_flat: bool = True
    """Whether a pixel whose neighbours all have its colour keeps its scores."""

    def __init__(
        self,
        iterations: int = 10,
        dilations: Sequence[int] = DILATIONS,
        width: float = 0.1,
    ) -> None:
        if iterations < 0 or not dilations or min(dilations) < 1 or not width > 0:
            raise ConfigError(
                f'{type(self).__name__} needs iterations >= 0, dilations >= 1 and a '
                f'width > 0, not {iterations}, {tuple(dilations)} and {width}'
            )
        self.iterations = iterations
        self.dilations = tuple(dilations)
        self.width = width

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Returns the seed with averaged scores and background."""
        return self.refine_batch([image], [seed])[0]

    @torch.no_grad()
    def refine_batch(
        self, images: Sequence[Tensor], seeds: Sequence[Seed]
    ) -> list[Seed]:
        """Refines the seeds of images of one size together.

        Args:
            images: ``(3, H, W)`` uint8 RGB each.
            seeds: Their seeds, with backgrounds; the numbers of classes may differ.

        Raises:
            DataError: A seed has no background, or the sizes of images and seeds
                differ.
        """
        check_batch(images, seeds)
        at_once = max(1, PIXELS_AT_ONCE // max(1, images[0][0].numel()))
        refined: list[Seed] = []
        for start in range(0, len(seeds), at_once):
            part = seeds[start : start + at_once]
            maps = [seed.probabilities() for seed in part]
            most = max(map(len, maps))
            stacked = torch.stack(
                [F.pad(m, (0, 0, 0, 0, 0, most - len(m))) for m in maps]
            )
            pixels = torch.stack([*images[start : start + at_once]]).to(stacked)
            walked = self.average(stacked, self.kernel(pixels))
            refined += [
                replace(seed, background=m[0], scores=m[1 : 1 + len(seed.classes)])
                for seed, m in zip(part, walked, strict=True)
            ]
        return refined

    def kernel(self, images: Tensor) -> Tensor:
        """The weights of each pixel and its P neighbours, which sum to 1.

        Args:
            images: ``(N, C, H, W)`` in any range.

        Returns:
            ``(N, 1 + P, H, W)`` in [0, 1], the pixel itself first: 1 where no channel
            varies, else 0.
        """
        sigma = self._sigma(images)
        scale = self._scale(sigma)
        number, _, height, width = images.shape
        distance = images.new_empty(number, 8 * len(self.dilations), height, width)
        for k, there in enumerate(neighbours(images, self.dilations)):
            distance[:, k] = ((there - images).abs_() / scale).pow_(self.power).mean(1)
        flat = (sigma == 0).all(1, keepdim=True) & self.keeps_flat
        weights = self._weights(distance).masked_fill_(flat, 0)
        return torch.cat([flat.to(weights), weights], 1)

    def average(self, maps: Tensor, kernel: Tensor) -> Tensor:
        """Averages ``(N, L, H, W)`` by a :meth:`kernel`, :attr:`iterations` times."""
        for _ in range(self.iterations):
            total = maps * kernel[:, :1]
            for k, there in enumerate(neighbours(maps, self.dilations), 1):
                total.addcmul_(there, kernel[:, k : k + 1])
            maps = total
        return maps

    def _sigma(self, images: Tensor) -> Tensor:
        """Standard deviation of each channel around each pixel, ``(N, C, H, W)``.

        Moments about the pixel itself, so that they are exact where nothing varies.
        """
        first, second = torch.zeros_like(images), torch.zeros_like(images)
        for there in neighbours(images, self.dilations):
            step = there - images
            first += step
            second.addcmul_(step, step)
        count = (8 + self.sigma_counts_centre) * len(self.dilations)
        variance = (second - first.square() / count) / (count - 1)
        return variance.clamp_(min=0).sqrt_()

    def _scale(self, sigma: Tensor) -> Tensor:
        """What colour distances are divided by, from the standard deviation."""
        return sigma * self.width + 1e-8

    def _weights(self, distance: Tensor) -> Tensor:
        """Weights ``(N, P, H, W)`` from colour distances, which it may overwrite."""
        return distance.neg_().softmax(1)


@REFINERS.register_module()
class PAR(PAMR):
    """PAMR with squared distances and a kernel of the position.

    ``a_ij = softmax_j(-mean_c (|I_ci - I_cj| / (width * sigma_ci))^2) +
    position_weight * softmax_j(-(|p_i - p_j| / (position_width * sigma_p))^2)``,
    divided by ``1 + position_weight``.

    Source: Ru et al., "Learning Affinity from Attention" (AFA), CVPR 2022,
    "Pixel-adaptive refinement"; its w1, w2 and w3 are ``width``, ``position_width`` and
    ``position_weight``.

    Args:
        iterations: How often to average, >= 0.
        dilations: Pixels between the points of each 3x3 window.
        width: The factor of the standard deviation of colours.
        position_width: The factor of the standard deviation of distances.
        position_weight: Weight of the kernel of the position, >= 0.
        as_released: Whether weights sum to ``1 + position_weight``, so that scores grow
            with every iteration, and a pixel whose neighbours all have its colour gets
            their mean, as in the released code of AFA and ToCo.

    Raises:
        ConfigError: A number out of range.
    """

    power = 2
    sigma_counts_centre = False

    def __init__(
        self,
        iterations: int = 10,
        dilations: Sequence[int] = DILATIONS,
        width: float = 0.3,
        position_width: float = 0.3,
        position_weight: float = 0.01,
        as_released: bool = False,
    ) -> None:
        super().__init__(iterations, dilations, width)
        if not position_width > 0 or position_weight < 0:
            raise ConfigError(
                'PAR needs position_width > 0 and position_weight >= 0, not '
                f'{position_width} and {position_weight}'
            )
        self.position_width = position_width
        self.position_weight = position_weight
        self.as_released, self.keeps_flat = as_released, not as_released

    def _scale(self, sigma: Tensor) -> Tensor:
        """The same but for the place of the small number in the released code."""
        if self.as_released:
            return (sigma + 1e-8) * self.width
        return super()._scale(sigma)

    def _weights(self, distance: Tensor) -> Tensor:
        steps = [
            dy * dy + dx * dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx
        ]
        reach = distance.new_tensor(
            [[d * s**0.5 for s in steps] for d in self.dilations]
        )
        small = 1e-8 if self.as_released else 0.0
        reach = reach.flatten() / ((reach.std() + small) * self.position_width)
        near = (-reach.square()).softmax(0)[:, None, None]
        weights = super()._weights(distance) + self.position_weight * near
        return weights if self.as_released else weights / (1 + self.position_weight)
