"""The interface of refiners, and a chain that applies several refiners in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsss_plugins.errors import DataError, NotFiniteError, PlugInError
from wsss_plugins.registry import REFINERS, build_as
from wsss_plugins.structures import Seed


class Refiner(ABC):
    """Computes a refined seed from a seed and its image.

    A subclass overrides :meth:`refine`. Calling the object checks the arguments and the
    returned seed. A refiner must not change its arguments in place.

    Attributes:
        stages: Names of the stages whose trained models the refiner needs;
            :meth:`bind` receives these models.
    """

    stages: tuple[str, ...] = ()

    def bind(self, models: Mapping[str, nn.Module]) -> None:  # noqa: B027 - most need none
        """Stores the trained models that the refiner needs; called once, before any call.

        Args:
            models: The trained model by name of its stage, for each stage in
                :attr:`stages`. It may hold models of other stages.

        Raises:
            ConfigError: The model of a stage is of a class that the refiner cannot use.
        """

    def parts(self) -> Sequence[Refiner]:
        """The refiners that this refiner applies; supervision cards name them too."""
        return ()

    def __call__(self, image: Tensor, seed: Seed) -> Seed:
        """Refines one seed.

        Args:
            image: ``(3, H, W)`` uint8 RGB.
            seed: A seed of the same ``(H, W)``.

        Returns:
            A seed of the same classes and size, on the device of ``seed``.

        Raises:
            DataError: The image is not ``(3, H, W)`` uint8, or its size is not that of
                the seed.
            PlugInError: :meth:`refine` returned no seed, a seed of other classes or of
                another size, or scores that are NaN, infinite or negative.
        """
        check_batch([image], [seed])
        refined = self.refine(image, seed)
        check_refined(type(self).__name__, seed, refined)
        return refined

    @abstractmethod
    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Refines ``seed``; its size has been checked to be that of ``image``."""

    def refine_batch(
        self, images: Sequence[Tensor], seeds: Sequence[Seed]
    ) -> list[Seed]:
        """Refines several seeds.

        A subclass that is faster on batches overrides this method and calls
        :func:`check_batch` first.

        Args:
            images: ``(3, H, W)`` uint8 RGB each, all of one size.
            seeds: The seed of each image, in order; their numbers of classes may differ.

        Returns:
            The refined seeds in the same order. They must equal those of single calls.

        Raises:
            DataError: The numbers of images and seeds differ, an image is not
                ``(3, H, W)`` uint8, or the sizes differ.
            PlugInError: A refined seed has other classes or another size than its seed,
                or scores that are NaN, infinite or negative.
        """
        check_batch(images, seeds)
        return [self(*pair) for pair in zip(images, seeds, strict=True)]


def check_refined(who: str, seed: Seed, refined: object) -> None:
    """Refuses a refined seed that breaks the contract of refiners.

    Args:
        who: Name of the refiner.
        seed: The seed that the refiner was given.
        refined: The value that it returned. Must be a seed of the same classes and size,
            whose scores and background are finite and >= 0.

    Raises:
        PlugInError: ``refined`` is not a seed, has other classes or another size, or has
            scores or a background with a value that is NaN, infinite or negative.
    """
    if not isinstance(refined, Seed):
        raise PlugInError(
            f'{who}.refine returned {type(refined).__name__}: allowed is a Seed'
        )
    if not torch.equal(refined.classes, seed.classes.to(refined.classes.device)):
        raise PlugInError(
            f'{who}.refine returned a seed of the classes {refined.classes.tolist()}: '
            f'allowed are those that it was given, {seed.classes.tolist()}'
        )
    if refined.size != seed.size:
        raise PlugInError(
            f'{who}.refine returned a seed of {refined.size} (height, width): allowed is '
            f'the size that it was given, {seed.size}'
        )
    for what, values in (
        ('scores', refined.scores),
        ('background', refined.background),
    ):
        if values is None or not values.numel():
            continue
        low, high = values.aminmax()
        if not (low.isfinite() and high.isfinite()):
            raise NotFiniteError(
                f'{who}.refine returned {what} that are NaN or infinite: allowed are '
                'finite numbers; look for a division by zero or the logarithm of 0'
            )
        if low < 0:
            raise PlugInError(
                f'{who}.refine returned {what} down to {float(low):.3g}: allowed are '
                'values >= 0; clamp them'
            )


def check_batch(images: Sequence[Tensor], seeds: Sequence[Seed]) -> None:
    """Refuses batches that :meth:`Refiner.refine_batch` cannot process.

    Args:
        images: Must be ``(3, H, W)`` uint8 RGB each, all of one size.
        seeds: One seed for each image, of the same size; at least one.

    Raises:
        DataError: The numbers of images and seeds differ, an image is not ``(3, H, W)``
            uint8, or the sizes differ.
    """
    if not len(images) == len(seeds) > 0:
        raise DataError(
            f'a refiner needs images and a seed for each, not {len(images)} images and '
            f'{len(seeds)} seeds'
        )
    for image, seed in zip(images, seeds, strict=True):
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
    sizes = sorted({seed.size for seed in seeds})
    if len(sizes) > 1:
        raise DataError(
            f'the images of a batch must be of one size, not {sizes[0]} and {sizes[1]} '
            '(height, width): refine those of each size together'
        )


@REFINERS.register_module()
class RefinerChain(Refiner):
    """Applies several refiners in order.

    Args:
        refiners: Refiners or their configs, in order. An empty list returns the seed
            unchanged.

    Raises:
        ConfigError: An entry of ``refiners`` is not a refiner.
    """

    def __init__(self, refiners: Sequence[Refiner | Mapping[str, Any]] = ()) -> None:
        self.refiners = [build_as(REFINERS, each, Refiner) for each in refiners]
        names = (name for refiner in self.refiners for name in refiner.stages)
        self.stages = tuple(dict.fromkeys(names))

    def bind(self, models: Mapping[str, nn.Module]) -> None:
        """Passes ``models`` to every refiner of the chain."""
        for refiner in self.refiners:
            refiner.bind(models)

    def parts(self) -> Sequence[Refiner]:
        """The refiners of the chain."""
        return self.refiners

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Refines ``seed`` by each refiner in order."""
        for refiner in self.refiners:
            seed = refiner(image, seed)
        return seed

    def refine_batch(
        self, images: Sequence[Tensor], seeds: Sequence[Seed]
    ) -> list[Seed]:
        """Refines the batch by each refiner in order, and checks each refined seed."""
        check_batch(images, seeds)
        for refiner in self.refiners:
            refined = refiner.refine_batch(images, seeds)
            for before, after in zip(seeds, refined, strict=True):
                check_refined(type(refiner).__name__, before, after)
            seeds = refined
        return list(seeds)
