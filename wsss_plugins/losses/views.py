"""Second views of images, each with the placement of its patches in the image.

Source: Sun et al., All-pairs Consistency Learning for Weakly Supervised Semantic
Segmentation (ACR), 2023, section 3.2 and table 7, which names the transforms without
parameters; the default values are those of this project.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.losses.placement import (
    SYMMETRIES,
    Grid,
    Moves,
    Placement,
    Reordering,
    Resampling,
    view_permutation,
)
from wsss_plugins.registry import MODELS, build_as, plugin_names

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue, of ITU-R BT.601."""


@dataclass(frozen=True)
class ImageFormat:
    """Stride and normalisation of the images of a batch.

    Attributes:
        stride: Pixels between two neighbouring patches.
        mean: Mean that was subtracted from each channel, ``(3, 1, 1)``.
        std: Standard deviation that each channel was divided by, ``(3, 1, 1)``.
    """

    stride: int
    mean: Tensor
    std: Tensor

    def grid(self, images: Tensor) -> Grid:
        """``(h, w)`` of the patches of ``images``."""
        return images.shape[-2] // self.stride, images.shape[-1] // self.stride


class View(ABC):
    """A transform that produces the second view of the images of a batch.

    A view of your own is a subclass with ``@MODELS.register_module()``; a config names
    it as ``view=dict(type='MyView', ...)``, alone or in a list. Random numbers come
    from torch's generator, which the training seeds, so that a resumed training
    continues exactly.

    Attributes:
        resamples: Whether a view may have another number of patches than its image.
    """

    resamples: bool = False

    @abstractmethod
    def __call__(
        self, images: Tensor, form: ImageFormat
    ) -> tuple[Tensor, Placement | None]:
        """Makes the views of a batch, all of one size.

        Args:
            images: ``(N, 3, H, W)``, normalised; left unchanged.
            form: Stride and normalisation of the images.

        Returns:
            The views ``(N, 3, H', W')``, both sides multiples of the stride, and the
            placement of their patches; None where every patch stays in place.
        """


@MODELS.register_module()
class SymmetryView(View):
    """Flips or rotates; the patches are permuted.

    Args:
        symmetry: A key of :data:`SYMMETRIES`.

    Raises:
        ConfigError: ``symmetry`` is no key of :data:`SYMMETRIES`.
    """

    def __init__(self, symmetry: str) -> None:
        if symmetry not in SYMMETRIES:
            raise ConfigError(
                f"unknown symmetry '{symmetry}': {near_names(symmetry, SYMMETRIES)}",
                token=symmetry,
            )
        self.symmetry = symmetry

    def __call__(self, images: Tensor, form: ImageFormat) -> tuple[Tensor, Placement]:
        """See :meth:`View.__call__`."""
        moved, placement = self.of_maps([images], form.grid(images))
        return moved[0], placement

    def of_maps(
        self, maps: Sequence[Tensor], grid: tuple[int, int]
    ) -> tuple[list[Tensor], Placement]:
        """The view of feature maps, which stand for that of the images.

        Args:
            maps: ``(N, C, h, w)`` each.
            grid: ``(h, w)`` of the patches.

        Returns:
            The maps, and where the patches are in the view.
        """
        order = view_permutation(self.symmetry, grid).to(maps[0].device)
        return [SYMMETRIES[self.symmetry](m) for m in maps], Reordering(order, grid)


@MODELS.register_module()
class ResizeView(View):
    """Resizes to another grid of patches, bilinear and antialiased.

    Args:
        scale: Factor of both sides, or the range that one is drawn from for each batch.
            The sides are rounded to whole patches.

    Raises:
        ConfigError: ``scale`` is not positive, or the range is not increasing.
    """

    resamples = True

    def __init__(self, scale: float | tuple[float, float] = (0.7, 1.3)) -> None:
        ends = scale if isinstance(scale, Sequence) else (scale, scale)
        if len(ends) != 2 or not 0 < ends[0] <= ends[1]:
            raise ConfigError(
                'scale of ResizeView must be a factor, or (low, high) with 0 < low <= '
                f'high, not {scale}',
                token='scale',
            )
        self.low, self.high = float(ends[0]), float(ends[1])

    def __call__(
        self, images: Tensor, form: ImageFormat
    ) -> tuple[Tensor, Placement | None]:
        """See :meth:`View.__call__`."""
        factor = self.low + (self.high - self.low) * float(torch.rand(()))
        height, width = grid = form.grid(images)
        view = max(1, round(height * factor)), max(1, round(width * factor))
        if view == grid:
            return images, None
        size = (view[0] * form.stride, view[1] * form.stride)
        resized = F.interpolate(images, size, mode='bilinear', antialias=True)
        return resized, Resampling(view, grid)


@MODELS.register_module()
class GreyView(View):
    """Converts to grey: every channel becomes the luminance."""

    def __call__(self, images: Tensor, form: ImageFormat) -> tuple[Tensor, None]:
        """See :meth:`View.__call__`."""
        weights = images.new_tensor(LUMINANCE).view(3, 1, 1)
        mean, std = form.mean.to(images), form.std.to(images)
        grey = ((images * std + mean) * weights).sum(1, keepdim=True)
        return (grey - mean) / std, None


@MODELS.register_module()
class HidePatchesView(View):
    """Paints random squares of each image in the mean colour.

    That is 0 after the preprocessing of the model. A network that normalises pixels itself,
    such as a :class:`~wsss_plugins.backbones.TimmMaps`, sees black squares.

    Source: Singh and Lee, Hide-and-Seek, ICCV 2017.

    Args:
        share: Probability that a square is hidden.
        size: Side of a square, in patches of the backbone.

    Raises:
        ConfigError: ``share`` is not in (0, 1), or ``size`` is no whole number of at least
            1.
    """

    def __init__(self, share: float = 0.5, size: int = 1) -> None:
        if not 0 < share < 1:
            raise ConfigError(f'share must be in (0, 1), not {share}', token='share')
        if size != int(size) or size < 1:
            raise ConfigError(
                f'size counts patches and must be 1 or more, not {size}', token='size'
            )
        self.share, self.size = share, int(size)

    def __call__(self, images: Tensor, form: ImageFormat) -> tuple[Tensor, None]:
        """See :meth:`View.__call__`."""
        height, width = form.grid(images)
        cells = (-(-height // self.size), -(-width // self.size))
        hidden = torch.rand(len(images), 1, *cells, device=images.device) < self.share
        side = self.size * form.stride
        hidden = hidden.repeat_interleave(side, 2).repeat_interleave(side, 3)
        return images.masked_fill(
            hidden[..., : images.shape[2], : images.shape[3]], 0
        ), None


class SeveralViews(View):
    """A view that is made of others; a subclass says how they are applied.

    Args:
        views: What :func:`build_view` takes, at least one.

    Raises:
        ConfigError: ``views`` is empty, or an entry is not a view.
    """

    def __init__(self, views: Sequence[Any]) -> None:
        self.views = _build_all(views)
        self.resamples = any(view.resamples for view in self.views)


@MODELS.register_module()
class RandomView(SeveralViews):
    """One of several views, drawn for each batch; see :class:`SeveralViews`."""

    def __call__(
        self, images: Tensor, form: ImageFormat
    ) -> tuple[Tensor, Placement | None]:
        """See :meth:`View.__call__`."""
        chosen = int(torch.randint(len(self.views), ()))
        return self.views[chosen](images, form)


class ViewChain(SeveralViews):
    """Views that are applied in order; see :class:`SeveralViews`."""

    def __call__(self, images: Tensor, form: ImageFormat) -> tuple[Tensor, Moves]:
        """See :meth:`View.__call__`."""
        steps = []
        for view in self.views:
            images, placement = view(images, form)
            if placement is not None:
                steps.append(placement)
        return images, Moves(steps)


VIEWS: dict[str, dict[str, Any]] = {
    **{name: dict(type='SymmetryView', symmetry=name) for name in SYMMETRIES},
    'rotation': dict(type='RandomView', views=['rot90', 'rot180', 'rot270']),
    'resize': dict(type='ResizeView'),
    'grey': dict(type='GreyView'),
    'hide': dict(type='HidePatchesView'),
}
"""Short names of views."""


def build_view(given: Any) -> View:
    """Builds a view from a config.

    Args:
        given: A key of :data:`VIEWS`, the name of a registered :class:`View`, a dict with
            ``type``, a :class:`View`, or a list of these, which is applied in order.
            ``'hflip+grey'`` is ``['hflip', 'grey']``.

    Raises:
        ConfigError: ``given`` is an unknown name, an empty list, or of another type.
    """
    if isinstance(given, View):
        return given
    if isinstance(given, str):
        names = given.split('+')
        if len(names) == 1:
            return build_as(MODELS, _named(given), View)
        given = names
    if isinstance(given, Sequence):
        return ViewChain(given)
    if not isinstance(given, Mapping):
        raise ConfigError(
            f'a view must be a name, a dict with type, or a list of these, not {given!r}',
            token='view',
        )
    return build_as(MODELS, given, View)


def _build_all(given: Sequence[Any]) -> list[View]:
    """Builds every view of a list.

    Raises:
        ConfigError: ``given`` is no list, or an empty one.
    """
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise ConfigError(
            f'name at least one view, such as {", ".join(VIEWS)}; got {given!r}',
            token='view',
        )
    return [build_view(one) for one in given]


def _named(name: str) -> dict[str, Any]:
    """The config that a name stands for.

    Raises:
        ConfigError: ``name`` is neither a key of :data:`VIEWS` nor a registered view.
    """
    classes = [n for n in plugin_names(MODELS) if _is_view(MODELS.get(n))]
    if name not in VIEWS and name not in classes:
        others = [n for n in classes if MODELS.get(n).__module__ != __name__]
        allowed = near_names(name, [*VIEWS, *others], most=20)
        raise ConfigError(f"unknown view '{name}': {allowed}", token=name)
    return VIEWS.get(name, dict(type=name))


def _is_view(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, View)
