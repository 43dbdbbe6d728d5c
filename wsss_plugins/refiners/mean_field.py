"""Mean field of a fully connected CRF with Gaussian edges, in two implementations.

Sources: Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with
Gaussian Edge Potentials", NIPS 2011 (algorithm 1), and 2013 (symmetric normalisation).

Both implementations take the same arguments:

- ``images`` ``(B, C, H, W)``, or one for all, ``(1, C, H, W)``, and ``logits``
  ``(B, L, H, W)``, the negative unary energies, of one dtype and device;
- ``gaussian`` and ``bilateral``, the widths and then the weight of either kernel; a
  kernel with weight 0 costs nothing;
- ``iterations``;
- ``compatibility`` ``(L, L)``, or None for Potts;

and return marginals ``(B, L, H, W)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners.lattice_filter import LatticeFilter
from wsss_plugins.refiners.permutohedral import PermutohedralLattice

KEPT_PIXELS = 2**19
"""Pixels of the largest image whose spatial lattice is kept; four of them hold 200 MB."""

VALUES_AT_ONCE = 2**19
"""Values that slice and softmax work on at a time, so that they stay in the cache."""

Kernels = list[tuple[LatticeFilter, float]]
"""Filters and their weights."""


def mean_field(
    images: Tensor,
    logits: Tensor,
    gaussian: tuple[float, float],
    bilateral: tuple[float, float, float],
    iterations: int,
    compatibility: Tensor | None = None,
) -> Tensor:
    """Infers marginals by the lattice filter, on the device of ``logits``."""
    # One after the other the images stay in the cache of a CPU.
    alone = logits.device.type == 'cpu' and len(images) == len(logits)
    together = 1 if alone else len(logits)
    used = (gaussian, bilateral) if iterations else ((1, 0), (1, 1, 0))
    build = partial(kernels_of, gaussian=used[0], bilateral=used[1])
    parts = logits.split(together)
    return torch.cat(
        [
            infer(kernels, part, iterations, compatibility)
            for kernels, part in zip(
                _ahead(build, images.split(together)), parts, strict=True
            )
        ]
    )


def _ahead(
    build: Callable[[Tensor], Kernels], parts: Sequence[Tensor]
) -> Iterator[Kernels]:
    """Builds the kernels of the next image while those of the last one are used.

    Building keeps one core busy, whatever the number of threads.
    """
    if torch.get_num_threads() == 1 or len(parts) == 1:
        yield from map(build, parts)
        return
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(build, parts[0])
        for part in parts[1:]:
            ready, coming = coming.result(), pool.submit(build, part)
            yield ready
        yield coming.result()


def kernels_of(
    images: Tensor, gaussian: tuple[float, float], bilateral: tuple[float, float, float]
) -> Kernels:
    """The smoothness and the appearance kernel of images ``(B, C, H, W)``."""
    kernels: Kernels = []
    if gaussian[1]:
        height, width = images.shape[2:]
        lattice = _spatial_lattice(height, width, gaussian[0], images)
        kernels.append((lattice.symmetric, gaussian[1]))
    if bilateral[2]:
        features = appearance_features(images, *bilateral[:2])
        lattice = PermutohedralLattice(features, groups=len(images))
        kernels.append((lattice.symmetric, bilateral[2]))
    return kernels


def infer(
    kernels: Kernels,
    logits: Tensor,
    iterations: int,
    compatibility: Tensor | None = None,
) -> Tensor:
    """Infers all images ``(B, L, H, W)`` in every step."""
    batch, labels, height, width = logits.shape
    # Pixels first, then images: the spatial lattice filters all images at once.
    logits = logits.flatten(2).permute(2, 0, 1).contiguous()
    marginals = torch.empty_like(logits)
    pixels = len(logits)
    on_cpu = logits.device.type == 'cpu'
    at_once = max(1, VALUES_AT_ONCE // (batch * labels)) if on_cpu else pixels
    for step in range(iterations + 1):
        messages = [
            (kernel, weight, _message(kernel, marginals, compatibility))
            for kernel, weight in (kernels if step else [])
        ]
        for start in range(0, pixels, at_once):
            stop = min(start + at_once, pixels)
            energy = logits[start:stop].clone()
            for kernel, weight, vertices in messages:
                times = kernel.num_points // pixels
                some = kernel.to_points(vertices, start * times, stop * times)
                energy.add_(some.view_as(energy), alpha=weight)
            _softmax(energy, marginals[start:stop])
    return marginals.permute(1, 2, 0).reshape(batch, labels, height, width)


def _message(
    kernel: LatticeFilter, marginals: Tensor, compatibility: Tensor | None
) -> Tensor:
    """The blurred vertices of marginals ``(H * W, B, L)``, labels mixed."""
    vertices = kernel.to_vertices(marginals.view(kernel.num_points, -1))
    if compatibility is None:
        return vertices
    mixed = vertices.view(-1, marginals.shape[2]) @ -compatibility
    return mixed.view_as(vertices)


def _softmax(energy: Tensor, out: Tensor) -> None:
    """Softmax over the last dimension."""
    if energy.device.type != 'cpu' or energy.shape[-1] > 8:
        torch.softmax(energy, -1, out=out)
        return
    # Few labels go faster as rows.
    for label, row in enumerate(torch.stack(energy.unbind(-1)).softmax(0)):
        out[..., label] = row


def mean_field_by_pydensecrf(
    images: Tensor,
    logits: Tensor,
    gaussian: tuple[float, float],
    bilateral: tuple[float, float, float],
    iterations: int,
    compatibility: Tensor | None = None,
) -> Tensor:
    """Infers marginals by the package pydensecrf, in float32 on one CPU core.

    Raises:
        ConfigError: pydensecrf is not installed.
    """
    try:
        from pydensecrf.densecrf import DenseCRF
    except ImportError as error:
        raise ConfigError(
            "backend 'pydensecrf' needs that package: pip install pydensecrf2 (it "
            "compiles C++), or take backend='torch', which gives the same without it",
            token='pydensecrf',
        ) from error
    found = []
    each = images.expand(len(logits), -1, -1, -1).split(1)
    for image, energy in zip(each, -logits.flatten(2), strict=True):
        kernels = [
            (position_features(image, gaussian[0]), gaussian[1]),
            (appearance_features(image, *bilateral[:2]), bilateral[2]),
        ]
        crf = DenseCRF(energy.shape[1], len(energy))
        crf.setUnaryEnergy(_array(energy))
        for features, weight in kernels:
            compat = weight if compatibility is None else _array(weight * compatibility)
            crf.addPairwiseEnergy(_array(features.T), compat=compat)
        found.append(np.array(crf.inference(iterations)))
    marginals = torch.from_numpy(np.stack(found)).view(logits.shape)
    return marginals.to(logits)


def _array(values: Tensor) -> np.ndarray:
    """The tensor as an array for pydensecrf."""
    return np.ascontiguousarray(values.cpu().numpy(), dtype=np.float32)


def position_features(like: Tensor, width: float) -> Tensor:
    """``(H * W, 2)``: x, then y of the pixels of ``(..., H, W)``, in widths."""
    y, x = (
        torch.arange(n, dtype=like.dtype, device=like.device) / width
        for n in like.shape[-2:]
    )
    return torch.stack(torch.meshgrid(x, y, indexing='xy')).flatten(1).T


def appearance_features(images: Tensor, xy: float, colour: float) -> Tensor:
    """``(H * W * B, 2 + C)`` of ``(B, C, H, W)``: positions and colours in widths."""
    positions = position_features(images, xy).T[:, :, None]
    colours = (images / colour).flatten(2).permute(1, 2, 0)
    both = torch.cat([positions.expand(-1, -1, len(images)), colours])
    return both.flatten(1).T


def _spatial_lattice(
    height: int, width: int, sigma: float, like: Tensor
) -> PermutohedralLattice:
    """The smoothness kernel; images of one size share it."""
    what = height, width, sigma, like.dtype, like.device
    if height * width > KEPT_PIXELS:
        return kept_spatial_lattice.__wrapped__(*what)
    return kept_spatial_lattice(*what)


@lru_cache(maxsize=4)
def kept_spatial_lattice(
    height: int, width: int, sigma: float, dtype: torch.dtype, device: torch.device
) -> PermutohedralLattice:
    """The lattice of the smoothness kernel of images of one size; the last four are kept.

    Args:
        height: Rows of the images.
        width: Columns of the images.
        sigma: Width of the kernel, in pixels.
        dtype: Of the positions.
        device: Where the lattice lies.
    """
    like = torch.empty(1, dtype=dtype, device=device).expand(height, width)
    return PermutohedralLattice(position_features(like, sigma))
