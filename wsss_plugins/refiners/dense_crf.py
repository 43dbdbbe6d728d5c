"""Fully connected CRF with Gaussian edges, by mean field.

Sources: Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with
Gaussian Edge Potentials", NIPS 2011 (eq. 3 kernels, algorithm 1 mean field), and 2013
(symmetric normalisation). Same results as pydensecrf, which is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.errors import ConfigError, DataError, near_names
from wsss_plugins.refiners.base import Refiner
from wsss_plugins.refiners.permutohedral import PermutohedralLattice
from wsss_plugins.registry import REFINERS
from wsss_plugins.structures import Seed


@dataclass(frozen=True)
class CRFPreset:
    """The numbers of one published dense CRF.

    Attributes:
        gaussian: Smoothness kernel: width in pixels, weight of the Potts term.
        bilateral: Appearance kernel: width in pixels, width in grey levels, weight.
        iterations: Mean-field steps.
        source: Where the numbers are from.
        confidence: Probability given to the winning label when the unary term is made
            from labels; None when it is made from the scores.
    """

    gaussian: tuple[float, float]
    bilateral: tuple[float, float, float]
    iterations: int
    source: str
    confidence: float | None = None


PRESETS: Mapping[str, CRFPreset] = MappingProxyType(
    {
        'psa': CRFPreset((3, 3), (80, 13, 10), 10, 'jiwoon-ahn/psa crf_inference'),
        'acr': CRFPreset(
            (3, 3), (83, 5, 4), 10, 'OpenNLPLab/ACR_WSSS crf_inference_inf'
        ),
        'mctformer': CRFPreset(
            (4, 3), (83, 5, 3), 10, 'xulianuwa/MCTformer crf_inference_inf'
        ),
        'deeplab': CRFPreset(
            (1, 3), (67, 3, 4), 10, 'kazuto1011/deeplab-pytorch voc12.yaml'
        ),
        'irn': CRFPreset(
            (3, 3), (50, 5, 10), 10, 'jiwoon-ahn/irn crf_inference_label', 0.7
        ),
    }
)
"""Published settings by name."""


def unary_from_scores(scores: Tensor, clip: float = 1e-5) -> Tensor:
    """Unary energy ``-log(s)`` of scores ``(L, H, W)`` clipped to ``[clip, 1]``."""
    return -scores.clamp(clip, 1).log()


def unary_from_labels(
    labels: Tensor, num_labels: int, confidence: float = 0.7
) -> Tensor:
    """Unary energy of a label map that is right with probability ``confidence``.

    Args:
        labels: ``(H, W)`` integers in 0..num_labels - 1.
        num_labels: L.
        confidence: Probability of the given label; the others share the rest.

    Returns:
        ``(L, H, W)`` float32.
    """
    rest = (1 - confidence) / max(num_labels - 1, 1)
    chosen = torch.arange(num_labels, device=labels.device)[:, None, None] == labels
    return -torch.where(chosen, confidence, rest).log()


@torch.no_grad()
def dense_crf(
    image: Tensor,
    unary: Tensor,
    gaussian: tuple[float, float] = PRESETS['psa'].gaussian,
    bilateral: tuple[float, float, float] = PRESETS['psa'].bilateral,
    iterations: int = PRESETS['psa'].iterations,
) -> Tensor:
    """Marginals of a fully connected CRF with Potts compatibility.

    ``Q <- softmax(-U + w_g K_g Q + w_b K_b Q)`` for all labels at once, from
    ``Q = softmax(-U)``, with symmetrically normalised kernels that count the pixel
    itself. A kernel with weight 0 costs nothing.

    Args:
        image: ``(C, H, W)`` in 0 to 255; RGB, or any number of channels.
        unary: ``(L, H, W)`` energies; their dtype and device are those of the work.
        gaussian: Width in pixels and weight ``w_g`` of the smoothness kernel.
        bilateral: Widths in pixels and in grey levels, and weight ``w_b``.
        iterations: Mean-field steps, >= 0.

    Returns:
        ``(L, H, W)`` in [0, 1], summing to 1 over the labels.

    Raises:
        DataError: Image and unary differ in size.
    """
    size = tuple(unary.shape[1:])
    if tuple(image.shape[1:]) != size:
        raise DataError(
            f'the image is {tuple(image.shape[1:])} but the unary energies are {size}'
        )
    kernels: list[tuple[PermutohedralLattice, float]] = []
    if iterations and gaussian[1]:
        lattice = _spatial_lattice(*size, gaussian[0], unary.dtype, unary.device)
        kernels.append((lattice, gaussian[1]))
    if iterations and bilateral[2]:
        lattice = _bilateral_lattice(image.to(unary), *bilateral[:2])
        kernels.append((lattice, bilateral[2]))
    logits = -unary.flatten(1).T.contiguous()
    marginals = _softmax(logits)
    for _ in range(iterations):
        energy = logits.clone()
        for lattice, weight in kernels:
            energy.add_(lattice.filter_symmetric(marginals), alpha=weight)
        marginals = _softmax(energy)
    return marginals.T.reshape(unary.shape)


def _softmax(logits: Tensor) -> Tensor:
    """Softmax over the labels of ``(N, L)``; few labels go faster as ``(L, N)``."""
    if logits.shape[1] > 8:
        return logits.softmax(1)
    return logits.T.contiguous().softmax(0).T.contiguous()


def _positions(height: int, width: int, like: Tensor) -> Tensor:
    """``(2, H, W)``: x, then y, in pixels."""
    y = torch.arange(height, dtype=like.dtype, device=like.device)
    x = torch.arange(width, dtype=like.dtype, device=like.device)
    return torch.stack(torch.meshgrid(x, y, indexing='xy'))


@lru_cache(maxsize=4)
def _spatial_lattice(
    height: int, width: int, sigma: float, dtype: torch.dtype, device: torch.device
) -> PermutohedralLattice:
    """The smoothness kernel; images of one size share it."""
    like = torch.empty(0, dtype=dtype, device=device)
    features = _positions(height, width, like) / sigma
    return PermutohedralLattice(features.flatten(1).T)


def _bilateral_lattice(
    image: Tensor, sigma_xy: float, sigma_rgb: float
) -> PermutohedralLattice:
    """The appearance kernel of an image ``(C, H, W)``."""
    positions = _positions(image.shape[1], image.shape[2], image)
    features = torch.cat([positions / sigma_xy, image / sigma_rgb])
    return PermutohedralLattice(features.flatten(1).T)


@REFINERS.register_module()
class DenseCRF(Refiner):
    """Replaces scores and background by the marginals of a dense CRF.

    Only the background and the classes present are labels. The seed needs a
    background: put a background policy before.

    Args:
        preset: Name of the published settings in :data:`PRESETS` that hold unless
            given: 'psa', 'acr', 'mctformer', 'deeplab' or 'irn'.
        gaussian: Smoothness kernel: width in pixels, weight.
        bilateral: Appearance kernel: width in pixels, width in grey levels, weight.
        iterations: Mean-field steps.
        clip: Lower bound of the scores before their logarithm.
        reference_size: When given, the widths in pixels are meant for images whose
            longer side is this, and are multiplied by ``max(H, W) / reference_size``.
            Photos of VOC have 500 pixels; without scaling, a width of 80 spans a
            whole 64-pixel image. PSA's ``scale_factor`` divides by the same ratio.

    Raises:
        ConfigError: An unknown preset or a number out of range.
    """

    def __init__(
        self,
        preset: str = 'psa',
        gaussian: tuple[float, float] | None = None,
        bilateral: tuple[float, float, float] | None = None,
        iterations: int | None = None,
        clip: float = 1e-5,
        reference_size: float | None = None,
    ) -> None:
        if preset not in PRESETS:
            raise ConfigError(
                f"unknown preset '{preset}' of DenseCRF: {near_names(preset, PRESETS)}",
                token=preset,
            )
        given: dict[str, Any] = dict(
            gaussian=gaussian, bilateral=bilateral, iterations=iterations
        )
        self.settings = replace(
            PRESETS[preset], **{k: v for k, v in given.items() if v is not None}
        )
        self.clip = clip
        self.reference_size = reference_size
        self._check()

    def _check(self) -> None:
        """Refuses numbers out of range."""
        gaussian, bilateral = self.settings.gaussian, self.settings.bilateral
        fits = (
            len(gaussian) == 2
            and len(bilateral) == 3
            and min(gaussian[0], *bilateral[:2]) > 0
            and self.settings.iterations >= 0
            and 0 < self.clip < 1
            and (self.reference_size is None or self.reference_size > 0)
        )
        if not fits:
            raise ConfigError(
                'DenseCRF needs gaussian=(width, weight), bilateral=(width, width, weight) '
                'with widths > 0, iterations >= 0, clip in (0, 1), reference_size > 0 or None; '
                f'got {gaussian}, {bilateral}, {self.settings.iterations}, {self.clip}, '
                f'{self.reference_size}'
            )

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Returns the marginals as scores and background, which sum to 1."""
        scores = seed.probabilities()
        settings = self.settings
        if settings.confidence is None:
            unary = unary_from_scores(scores, self.clip)
        else:
            unary = unary_from_labels(
                scores.argmax(0), len(scores), settings.confidence
            )
        scale = max(seed.size) / (self.reference_size or max(seed.size))
        marginals = dense_crf(
            image.to(scores.device),
            unary.to(scores.dtype),
            (settings.gaussian[0] * scale, settings.gaussian[1]),
            (settings.bilateral[0] * scale, *settings.bilateral[1:]),
            settings.iterations,
        )
        return replace(seed, background=marginals[0], scores=marginals[1:])
