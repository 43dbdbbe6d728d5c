"""Propagates scores by a random walk along the affinities of pixels.

Sources: Ahn and Kwak (PSA), CVPR 2018, section 3.4; Ahn, Cho and Kwak (IRN), CVPR
2019, section 3.4. The walk itself is :class:`wsss_plugins.affinity.Transition`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.affinity import (
    BorderRule,
    BoundarySource,
    ColourFeatures,
    FeatureSource,
    Transition,
    image_affinities,
    pad_to_stride,
)
from wsss_plugins.affinity.geometry import check_pairs
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.refiners.base import Refiner
from wsss_plugins.registry import MODELS, REFINERS, build_as
from wsss_plugins.structures import Seed

Source = FeatureSource | BoundarySource


def walk_maps(
    maps: Tensor, transition: Transition, share: Tensor, stride: int, steps: int
) -> Tensor:
    """Propagates maps on the grid of the stride, and resizes them to their own size.

    Zero-padded to a multiple of the stride, mean-pooled, walked, upsampled bilinearly
    with half-pixel centres, and cropped, as in PSA.

    Args:
        maps: ``(C, H, W)`` floats.
        transition: Transition of a map ``(h, w)``: H and W divided by the stride,
            rounded up.
        share: ``(h, w)`` in [0, 1]: factor of the maps before the walk.
        stride: Pixels per pixel of the grid.
        steps: See :meth:`Transition.walk`.

    Returns:
        ``(C, H, W)``, within the range of ``maps`` and 0.
    """
    size = (maps.shape[1], maps.shape[2])
    walked = transition.walk(to_cells(maps, stride) * share, steps)
    return to_pixels(walked, stride, size)


def to_cells(maps: Tensor, stride: int) -> Tensor:
    """The mean of every cell of maps ``(C, H, W)``, zeros added below and on the right."""
    padded = pad_to_stride(maps, stride)
    if not len(maps):  # an image without a class
        return padded[:, ::stride, ::stride]
    return F.avg_pool2d(padded, stride)


def to_pixels(maps: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Maps ``(C, h, w)`` of cells as maps of pixels, bilinear, cropped to ``size``."""
    if not len(maps):
        return maps.new_zeros(0, *size)
    full = [side * stride for side in maps.shape[1:]]
    back = F.interpolate(maps[None], full, mode='bilinear', align_corners=False)[0]
    return back[:, : size[0], : size[1]]


@REFINERS.register_module()
class RandomWalk(Refiner):
    """Replaces every score by its expectation after a random walk.

    Published settings: PSA beta 8 and ``log_steps=8`` after a power background of 16;
    MCTformer's copy ``log_steps=6`` after a constant background of 0.39; IRN
    ``beta=10, log_steps=8, border='irn', walk_background=False`` at stride 4, with the
    background policy after the walk. The ReScience paper gives beta 16 and ``T^t`` with
    t = 8: literally ``steps=8``, but ``log_steps=8`` if t is the option of PSA.

    Args:
        affinity: The source of the affinities: the name of a stage whose trained model
            computes features (AffinityNet) or boundaries (IRN), or the config of a
            module that needs no training. The default is
            ``dict(type='ColourFeatures')``.
        beta: Exponent of the affinities, > 0.
        steps: Steps of the walk, >= 0: the power of T.
        log_steps: Replaces ``steps``: the number of squarings of T, which are ``2 **
            log_steps`` steps. If neither is given, ``log_steps`` is 8.
        border: 'irn': all pairs inside the image; 'psa': without those that start at
            the border, as PSA's code does. See :data:`BorderRule`.
        walk_background: Whether the background is propagated like the classes. If
            False, the background is unchanged and may be None.

    Raises:
        ConfigError: A number is out of range, both ``steps`` and ``log_steps`` are
            given, or ``affinity`` is of another kind.
    """

    def __init__(
        self,
        affinity: str | Mapping[str, Any] | nn.Module | None = None,
        beta: float = 8.0,
        steps: int | None = None,
        log_steps: int | None = None,
        border: BorderRule = 'irn',
        walk_background: bool = True,
    ) -> None:
        if steps is not None and log_steps is not None:
            raise ConfigError(
                'RandomWalk takes steps or log_steps (2 ** log_steps steps), not both',
                token='log_steps',
            )
        if steps is None:
            steps = 2 ** (8 if log_steps is None else log_steps)
        if not (beta > 0 and steps >= 0 and steps == int(steps)):
            raise ConfigError(
                'RandomWalk needs beta > 0 and a whole number of steps >= 0, '
                f'not {beta} and {steps}'
            )
        check_pairs(2, border)
        self.beta = beta
        self.steps = int(steps)
        self.border = border
        self.walk_background = walk_background
        self._source: Source | None = None
        if affinity is None:
            self._source = ColourFeatures()
        elif isinstance(affinity, str):
            self.stages = (affinity,)
        else:
            self._source = _as_source(build_as(MODELS, affinity, nn.Module))

    def bind(self, models: Mapping[str, nn.Module]) -> None:
        """Stores the model of the stage ``affinity`` as the source of affinities."""
        for stage in self.stages:
            self._source = _as_source(models[stage], f" of stage '{stage}'")

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Returns the seed with propagated scores and background.

        Raises:
            ConfigError: The model of the stage is not bound yet.
            DataError: The seed has no background, or its scores are not finite.
        """
        maps = seed.probabilities() if self.walk_background else seed.scores
        if not maps.isfinite().all():
            raise DataError('the seed holds scores that are not finite: make it again')
        source = self._bound_source()
        place = next(source.parameters(), maps).device
        affinities, share = image_affinities(source, image.to(place))
        transition = Transition(affinities, source.radius, self.beta, self.border)
        walked = walk_maps(
            maps.to(place), transition, share, source.stride, self.steps
        ).to(maps.device)
        if not self.walk_background:
            return replace(seed, scores=walked)
        return replace(seed, background=walked[0], scores=walked[1:])

    def _bound_source(self) -> Source:
        """The affinity source; raises if its stage's model has not been bound."""
        if self._source is None:
            stage = self.stages[0]
            raise ConfigError(
                f"RandomWalk takes its affinities from stage '{stage}': bind its model "
                'first, or run it in a RefineStage',
                token=stage,
            )
        return self._source


def _as_source(model: nn.Module, origin: str = '') -> Source:
    """Refuses a model without features or boundaries."""
    if not isinstance(model, FeatureSource | BoundarySource):
        raise ConfigError(
            f'{type(model).__name__}{origin} gives no affinities: RandomWalk needs a '
            'model with radius, stride, normalise, and features or boundaries, such '
            'as AffinityNet',
            token=type(model).__name__,
        )
    return model
