"""The refiner interface, and the chain of several refiners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsss_plugins.errors import DataError, PlugInError
from wsss_plugins.registry import REFINERS, build_as
from wsss_plugins.structures import Seed


class Refiner(ABC):
    """Computes a better seed from a seed and its image.

    A subclass overrides :meth:`refine`; calling the object checks input and output.
    Inputs are never changed.

    Attributes:
        stages: Names of the stages whose trained models the refiner needs, see
            :meth:`bind`.
    """

    stages: tuple[str, ...] = ()

    def bind(self, models: Mapping[str, nn.Module]) -> None:  # noqa: B027 - most need none
        """Stores the trained models that the refiner needs; called once, before work.

        Args:
            models: The model of each stage in :attr:`stages`; may hold models of other
                stages.

        Raises:
            ConfigError: A model is of the wrong kind.
        """

    def parts(self) -> Sequence[Refiner]:
        """The refiners that it applies itself, for supervision cards to name."""
        return ()

    def __call__(self, image: Tensor, seed: Seed) -> Seed:
        """Refines one seed.

        Args:
            image: ``(3, H, W)`` uint8 RGB.
            seed: A seed of the same ``(H, W)``.

        Returns:
            A seed of the same classes and size, on the device of ``seed``.

        Raises:
            DataError: The image is not ``(3, H, W)`` uint8, or not of the size of the
                seed.
            PlugInError: :meth:`refine` returned something else than such a seed.
        """
        check_batch([image], [seed])
        refined = self.refine(image, seed)
        check_refined(type(self).__name__, seed, refined)
        return refined

    @abstractmethod
    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Refines ``seed``, whose size is known to be that of ``image``."""

    def refine_batch(
        self, images: Sequence[Tensor], seeds: Sequence[Seed]
    ) -> list[Seed]:
        """Refines several seeds; a subclass that works faster on many overrides it.

        It then calls :func:`check_batch` first.

        Args:
            images: ``(3, H, W)`` uint8 RGB each, all of one size.
            seeds: Their seeds, in order; the numbers of classes may differ.

        Returns:
            The refined seeds, in order, equal to refining them one by one.

        Raises:
            DataError: The images do not fit the seeds or one another.
            PlugInError: A refined seed is none that a refiner may return.
        """
        check_batch(images, seeds)
        return [self(*pair) for pair in zip(images, seeds, strict=True)]


def check_refined(who: str, seed: Seed, refined: object) -> None:
    """Refuses what no refiner may return.

    Args:
        who: The refiner.
        seed: What it was given.
        refined: What it returned: to be a seed of the same classes and size, whose scores
            and background are finite and >= 0.

    Raises:
        PlugInError: ``refined`` is anything else; the message says what, and what is
            allowed.
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
            raise PlugInError(
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
        seeds: Must be as many as images, at least one, and of their size.

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
    """Applies refiners one after the other.

    Args:
        refiners: Refiners or their configs, in order; with an empty list the seed is
            unchanged.

    Raises:
        ConfigError: An entry of ``refiners`` is not a refiner.
    """

    def __init__(self, refiners: Sequence[Refiner | Mapping[str, Any]] = ()) -> None:
        self.refiners = [build_as(REFINERS, each, Refiner) for each in refiners]
        names = (name for refiner in self.refiners for name in refiner.stages)
        self.stages = tuple(dict.fromkeys(names))

    def bind(self, models: Mapping[str, nn.Module]) -> None:
        """Passes the models to every refiner."""
        for refiner in self.refiners:
            refiner.bind(models)

    def parts(self) -> Sequence[Refiner]:
        """All of them."""
        return self.refiners

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Refines ``seed`` by each refiner in turn."""
        for refiner in self.refiners:
            seed = refiner(image, seed)
        return seed

    def refine_batch(
        self, images: Sequence[Tensor], seeds: Sequence[Seed]
    ) -> list[Seed]:
        """Refines the batch by each refiner in turn."""
        check_batch(images, seeds)
        for refiner in self.refiners:
            refined = refiner.refine_batch(images, seeds)
            for before, after in zip(seeds, refined, strict=True):
                check_refined(type(refiner).__name__, before, after)
            seeds = refined
        return list(seeds)
