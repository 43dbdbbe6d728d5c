"""Sources of pixel affinities: features, boundaries, or colours alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.affinity.geometry import check_pairs, pair_offsets, pair_path
from wsss_plugins.affinity.similarity import feature_affinities
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import MODELS


class _Source(Protocol):
    """A module that provides affinities.

    Attributes:
        radius: Radius of the pairs in pixels of the grid, >= 2.
        stride: Pixels of the image per pixel of the grid.
    """

    radius: int
    stride: int

    def parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of ``nn.Module``."""

    def normalise(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` RGB in 0..255, as the module expects them.

        The caller pads the result with zeros, below and right, to multiples of the
        stride before the module receives it.
        """


@runtime_checkable
class FeatureSource(_Source, Protocol):
    """A module whose features measure how similar two pixels are, as AffinityNet."""

    def features(self, images: Tensor) -> Tensor:
        """Features ``(N, D, H / stride, W / stride)`` of normalised, padded images."""


@runtime_checkable
class BoundarySource(_Source, Protocol):
    """A module that predicts the boundaries between objects, such as IRN."""

    def boundaries(self, images: Tensor) -> Tensor:
        """Boundary strength ``(N, H / stride, W / stride)`` in [0, 1]."""


def boundary_affinities(boundaries: Tensor, radius: int) -> Tensor:
    """``1 - max of the boundary on the path`` of every pair.

    Source: IRN, eq. 3; the path is that of
    :func:`~wsss_plugins.affinity.geometry.pair_path`. Where several pixels of a path are
    equally strong, the first of them alone gets the gradient, as in IRN's code.

    Args:
        boundaries: ``(N, H, W)`` in [0, 1].
        radius: Radius of the pairs.

    Returns:
        ``(N, P, H, W)`` in [0, 1]; outside the map the boundary is 1.
    """
    height, width = boundaries.shape[-2:]
    reach = radius - 1
    padded = F.pad(boundaries, (reach, reach, 0, reach), value=1.0)
    affinities = []
    for dy, dx in pair_offsets(radius).tolist():
        way = [
            padded[..., y : y + height, reach + x : reach + x + width]
            for y, x in pair_path(dy, dx)
        ]
        affinities.append(1 - torch.stack(way).max(0).values)
    return torch.stack(affinities, 1)


@torch.no_grad()
def image_affinities(
    source: FeatureSource | BoundarySource, image: Tensor
) -> tuple[Tensor, Tensor]:
    """Affinities on the grid of one image.

    Args:
        source: The source of the affinities.
        image: ``(3, H, W)`` RGB in 0..255, on the device of the source.

    Returns:
        The affinities ``(P, h, w)``, and ``(h, w)`` factors of the scores before the
        walk: 1, or ``1 - boundary`` as in IRN; h and w are H and W divided by the
        stride, rounded up.

    Raises:
        DataError: The source returns another grid.
    """
    stride, radius = source.stride, source.radius
    images = pad_to_stride(source.normalise(image[None].float()), stride)
    if isinstance(source, BoundarySource):
        boundaries = source.boundaries(images)
        affinities = boundary_affinities(boundaries, radius)
        share = 1 - boundaries
    else:
        affinities = feature_affinities(source.features(images), radius)
        share = torch.ones_like(affinities[:, 0])
    grid = (images.shape[-2] // stride, images.shape[-1] // stride)
    if tuple(share.shape[-2:]) != grid:
        raise DataError(
            f'{type(source).__name__} has stride {stride} but gives a map of '
            f'{tuple(share.shape[-2:])} instead of {grid}'
        )
    return affinities[0], share[0]


def pixels_of(backbone: nn.Module, images: Tensor) -> tuple[int, int]:
    """``(H, W)`` of images, or of those that kept features are of.

    Args:
        backbone: A network; one that takes kept features has a method ``pixels``.
        images: What it is given.
    """
    pixels = getattr(backbone, 'pixels', None)
    if pixels is not None:
        return pixels(images)
    return images.shape[-2], images.shape[-1]


def pad_to_stride(maps: Tensor, stride: int) -> Tensor:
    """``maps`` ``(..., H, W)`` with zeros below and right up to multiples of ``stride``."""
    height, width = maps.shape[-2:]
    return F.pad(maps, (0, -width % stride, 0, -height % stride))


@MODELS.register_module()
class ColourFeatures(nn.Module):
    """The mean colour of every grid cell as its features; nothing is trained.

    The affinity of two cells is ``exp(-d / sigma)``, d the mean absolute difference of
    their red, green and blue.

    Args:
        radius: Radius of the pairs in cells, >= 2.
        stride: Side of a cell in pixels.
        sigma: In grey levels of 0..255, > 0. The default suits 256 steps with beta 8 on
            photos; a wider one makes the walk cross object borders.

    Raises:
        ConfigError: ``radius``, ``stride`` or ``sigma`` is out of range.
    """

    def __init__(self, radius: int = 5, stride: int = 8, sigma: float = 10.0) -> None:
        super().__init__()
        check_pairs(radius, 'irn')
        if not (stride >= 1 and sigma > 0):
            raise ConfigError(
                f'{type(self).__name__} needs stride >= 1 and sigma > 0, '
                f'not {stride} and {sigma}'
            )
        self.radius = radius
        self.stride = stride
        self.sigma = sigma

    def normalise(self, images: Tensor) -> Tensor:
        """Colours in units of sigma, and a fourth channel that is 1: ``(N, 4, H, W)``."""
        return torch.cat([images / self.sigma, torch.ones_like(images[:, :1])], 1)

    def features(self, images: Tensor) -> Tensor:
        """Mean over the pixels of each cell that are not padding, ``(N, 3, h, w)``."""
        sums = F.avg_pool2d(images, self.stride)
        return sums[:, :3] / sums[:, 3:]


@MODELS.register_module()
class ColourBoundaries(ColourFeatures):
    """Boundaries where the colour changes from cell to cell; nothing is trained.

    The boundary at a cell is ``1 - exp(-d / sigma)``, d the largest difference to the
    cells left, right, above and below, as :class:`ColourFeatures` measures it.
    """

    def boundaries(self, images: Tensor) -> Tensor:
        """Boundary strength ``(N, h, w)`` in [0, 1)."""
        colours = self.features(images)
        right = colours.diff(dim=3).abs().mean(1)
        below = colours.diff(dim=2).abs().mean(1)
        ways = [
            F.pad(right, (0, 1)),
            F.pad(right, (1, 0)),
            F.pad(below, (0, 0, 0, 1)),
            F.pad(below, (0, 0, 1, 0)),
        ]
        return 1 - torch.stack(ways).amax(0).neg().exp()
