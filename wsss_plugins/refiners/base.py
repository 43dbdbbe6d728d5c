"""What a refiner is, and how several make one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.errors import DataError
from wsss_plugins.registry import REFINERS, build_as
from wsss_plugins.structures import Seed


class Refiner(ABC):
    """Makes a better seed of a seed and its image.

    A subclass overrides :meth:`refine`; calling the object checks the input first.
    Inputs are never changed.
    """

    def __call__(self, image: Tensor, seed: Seed) -> Seed:
        """Refines one seed.

        Args:
            image: ``(3, H, W)`` uint8 RGB.
            seed: A seed of the same ``(H, W)``.

        Returns:
            A seed of the same classes and size, on the device of ``seed``.

        Raises:
            DataError: The image is of another type or size.
        """
        if image.ndim != 3 or len(image) != 3 or image.dtype != torch.uint8:
            raise DataError(
                'a refiner needs an RGB image (3, H, W) of uint8, not '
                f'{tuple(image.shape)} of {image.dtype}'
            )
        size = tuple(image.shape[1:])
        if size != seed.size:
            raise DataError(
                f'the image is {size} (height, width) but its seed is {seed.size}: '
                'resize the seed to the image first'
            )
        return self.refine(image, seed)

    @abstractmethod
    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Refines ``seed``, whose size is known to be that of ``image``."""


@REFINERS.register_module()
class RefinerChain(Refiner):
    """Applies refiners one after the other.

    Args:
        refiners: Refiners or their configs, in order; none leaves the seed as it is.

    Raises:
        ConfigError: One of them is no refiner.
    """

    def __init__(self, refiners: Sequence[Refiner | Mapping[str, Any]] = ()) -> None:
        self.refiners = [build_as(REFINERS, each, Refiner) for each in refiners]

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Refines ``seed`` by each refiner in turn."""
        for refiner in self.refiners:
            seed = refiner(image, seed)
        return seed
