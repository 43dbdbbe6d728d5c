"""Fully connected CRF with Gaussian edges, by mean field.

Sources: Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with
Gaussian Edge Potentials", NIPS 2011 (eq. 3 kernels, algorithm 1 mean field), and 2013
(symmetric normalisation). Same results as pydensecrf, which is not needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.errors import ConfigError, DataError, near_names
from wsss_plugins.refiners.base import Refiner, check_batch
from wsss_plugins.refiners.crf_presets import PRESETS
from wsss_plugins.refiners.crf_unary import unary_from_labels, unary_from_scores
from wsss_plugins.refiners.mean_field import mean_field, mean_field_by_pydensecrf
from wsss_plugins.registry import REFINERS
from wsss_plugins.structures import Seed

BACKENDS: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    dict(torch=mean_field, pydensecrf=mean_field_by_pydensecrf)
)
"""Implementations of the inference, by name; 'torch' is that of this package."""

FORMER_BACKENDS: Mapping[str, str] = MappingProxyType(dict(auto='torch'))
"""Names that configs of earlier versions may have, and what they stand for."""


@torch.no_grad()
def dense_crf(
    image: Tensor,
    unary: Tensor,
    gaussian: tuple[float, float] = PRESETS['psa'].gaussian,
    bilateral: tuple[float, float, float] = PRESETS['psa'].bilateral,
    iterations: int = PRESETS['psa'].iterations,
    compatibility: Tensor | None = None,
    backend: str = 'torch',
) -> Tensor:
    """Marginals of a fully connected CRF, for one image or several of one size.

    ``Q <- softmax(-U - mu (w_g K_g Q + w_b K_b Q))`` for all labels at once, from
    ``Q = softmax(-U)``, with symmetrically normalised kernels that count the pixel
    itself. A kernel with weight 0 costs nothing.

    Args:
        image: ``(C, H, W)`` or ``(B, C, H, W)`` in 0 to 255; RGB, or any number of
            channels. One image ``(1, C, H, W)`` may serve all energies: its kernels are
            then built once.
        unary: ``(L, H, W)`` or ``(B, L, H, W)`` energies, whose dtype and device the
            inference uses.
        gaussian: Width in pixels and weight ``w_g`` of the smoothness kernel.
        bilateral: Widths in pixels and in grey levels, and weight ``w_b``.
        iterations: Mean-field steps, >= 0.
        compatibility: ``mu`` ``(L, L)``: the energy that label l pays for a
            neighbour with label m. As in pydensecrf it enters with its sign and as
            ``(mu + mu.T) / 2``. None is the Potts model: -1 for equal labels, else 0,
            which is equivalent to a penalty of 1 for different labels.
        backend: 'torch' for this package's own inference, or 'pydensecrf', which must
            be installed and uses one CPU core and float32.

    Returns:
        Marginals in the shape of ``unary``, in [0, 1], summing to 1 over the labels.

    Raises:
        DataError: Image and unary differ in size, or a label has no energy.
        ConfigError: The backend is unknown or not installed, or the compatibility has
            another shape.
    """
    single = unary.ndim == 3
    images, energies = (image[None], unary[None]) if single else (image, unary)
    _check_energies(images, energies)
    if compatibility is not None:
        compatibility = _symmetric(compatibility.to(unary), energies.shape[1])
    marginals = _backend(backend)(
        images.to(unary), -energies, gaussian, bilateral, iterations, compatibility
    )
    return marginals[0] if single else marginals


def _check_energies(images: Tensor, energies: Tensor) -> None:
    """Refuses images and energies whose shapes do not match."""
    pixels, wanted = tuple(images.shape), tuple(energies.shape)
    same = pixels[2:] == wanted[2:] and pixels[:1] in ((1,), wanted[:1])
    if len(pixels) != 4 or len(wanted) != 4 or not same or not energies.numel():
        raise DataError(
            'a dense CRF needs images (B or 1, C, H, W) and energies (B, L, H, W) of one '
            f'size (H, W), or both without B; got {pixels} and {wanted}'
        )
    if not energies.is_floating_point() or energies.isnan().any():
        raise DataError(
            f'unary energies must be floats and not NaN; got {energies.dtype}: '
            'look for NaN in the scores'
        )


def _symmetric(compatibility: Tensor, labels: int) -> Tensor:
    """The symmetric part of a matrix ``(labels, labels)``."""
    if compatibility.shape != (labels, labels) or not compatibility.isfinite().all():
        raise ConfigError(
            f'compatibility of {labels} labels must be finite and ({labels}, {labels}), '
            f'not {tuple(compatibility.shape)}: one row per label, background first'
        )
    return (compatibility + compatibility.T) / 2


def _backend(name: str) -> Callable[..., Tensor]:
    """The inference of that name."""
    name = FORMER_BACKENDS.get(name, name)
    if name not in BACKENDS:
        raise ConfigError(
            f"unknown backend '{name}' of a dense CRF: {near_names(name, BACKENDS)}",
            token=name,
        )
    return BACKENDS[name]


@REFINERS.register_module()
class DenseCRF(Refiner):
    """Replaces scores and background by the marginals of a dense CRF.

    The labels are the background and the present classes. The seed needs a background:
    put a background policy before this refiner.

    Args:
        preset: Name of the published settings in :data:`PRESETS` that are used for
            arguments that are not given: 'psa', 'acr', 'mctformer', 'deeplab', 'irn' or
            'ex_vit'.
        gaussian: Smoothness kernel: width in pixels, weight.
        bilateral: Appearance kernel: width in pixels, width in grey levels, weight.
        iterations: Mean-field steps.
        clip: Lower bound of the scores before their logarithm.
        reference_size: Longer side of the images that the widths in pixels are meant
            for; the widths are multiplied by ``max(H, W) / reference_size``. Photos of
            VOC have 500 pixels; without scaling, a width of 80 spans a whole 64-pixel
            image. PSA's ``scale_factor`` divides by the same ratio.
        compatibility: Rows of a matrix ``(1 + C, 1 + C)`` over background and all C
            classes, see :func:`dense_crf`; None is Potts.
        backend: Implementation of the inference: 'torch' or 'pydensecrf', see
            :func:`dense_crf`.

    Raises:
        ConfigError: ``preset`` or ``backend`` is unknown, or a number is out of range.
    """

    def __init__(
        self,
        preset: str = 'psa',
        gaussian: tuple[float, float] | None = None,
        bilateral: tuple[float, float, float] | None = None,
        iterations: int | None = None,
        clip: float = 1e-5,
        reference_size: float | None = None,
        compatibility: Sequence[Sequence[float]] | None = None,
        backend: str = 'torch',
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
        self.compatibility = _matrix(compatibility)
        _backend(backend)
        self.backend = backend
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

    def described(self) -> tuple[str, str]:
        """Name of the preset that the settings began with, and what was changed."""
        given = vars(self.settings)
        named = [n for n, preset in PRESETS.items() if preset.source == given['source']]
        published = vars(PRESETS[named[0]]) if named else {}
        changed = {k: v for k, v in given.items() if published.get(k) != v}
        if self.reference_size is not None:
            changed['reference_size'] = self.reference_size
        if self.compatibility is not None:
            changed['compatibility'] = 'a matrix'
        words = ', '.join(f'{key} {_number(value)}' for key, value in changed.items())
        return named[0] if named else 'none', words

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Returns the marginals as scores and background, which sum to 1."""
        return self._refine_alike([image], [seed])[0]

    def refine_batch(
        self, images: Sequence[Tensor], seeds: Sequence[Seed]
    ) -> list[Seed]:
        """Refines seeds with equal numbers of labels together."""
        check_batch(images, seeds)
        alike: dict[Any, list[int]] = defaultdict(list)
        for i, seed in enumerate(seeds):
            potts = self.compatibility is None
            alike[len(seed.classes) if potts else tuple(seed.classes.tolist())] += [i]
        refined: dict[int, Seed] = {}
        for places in alike.values():
            found = self._refine_alike(
                [images[i] for i in places], [seeds[i] for i in places]
            )
            refined.update(zip(places, found, strict=True))
        return [refined[i] for i in range(len(seeds))]

    def _refine_alike(
        self, images: Sequence[Tensor], seeds: Sequence[Seed]
    ) -> list[Seed]:
        """Refines seeds of one size and number of labels.

        Seeds of one image, the very same tensor, share its kernels.
        """
        of_image: dict[int, list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            of_image[id(image)].append(i)
        if len(of_image) == len(images):
            return self._marginals(images, seeds)
        refined: dict[int, Seed] = {}
        for places in of_image.values():
            found = self._marginals([images[places[0]]], [seeds[i] for i in places])
            refined.update(zip(places, found, strict=True))
        return [refined[i] for i in range(len(seeds))]

    def _marginals(self, images: Sequence[Tensor], seeds: Sequence[Seed]) -> list[Seed]:
        """Refines the seed of each image, or several seeds of one image."""
        settings = self.settings
        unary = torch.stack([self._unary(seed) for seed in seeds])
        size = max(unary.shape[2:])
        scale = size / (self.reference_size or size)
        marginals = dense_crf(
            torch.stack([image.to(unary.device) for image in images]),
            unary,
            (settings.gaussian[0] * scale, settings.gaussian[1]),
            (settings.bilateral[0] * scale, *settings.bilateral[1:]),
            settings.iterations,
            self._compatibility_of(seeds[0]),
            self.backend,
        )
        return [
            replace(seed, background=each[0], scores=each[1:])
            for seed, each in zip(seeds, marginals, strict=True)
        ]

    def _unary(self, seed: Seed) -> Tensor:
        """Unary energies ``(L, H, W)`` of the seed."""
        scores = seed.probabilities()
        confidence = self.settings.confidence
        if confidence is None:
            return unary_from_scores(scores, self.clip)
        unary = unary_from_labels(scores.argmax(0), len(scores), confidence)
        return unary.to(scores.dtype)

    def _compatibility_of(self, seed: Seed) -> Tensor | None:
        """The rows and columns of background and the classes present."""
        if self.compatibility is None:
            return None
        labels = [0, *(seed.classes + 1).tolist()]
        if max(labels) >= len(self.compatibility):
            raise ConfigError(
                f'class {max(labels) - 1} has no row in the compatibility of '
                f'{len(self.compatibility)} labels: give one row for the background '
                'and one per class'
            )
        return self.compatibility[labels][:, labels]


def _matrix(rows: Sequence[Sequence[float]] | None) -> Tensor | None:
    """A square matrix of nested lists."""
    if rows is None:
        return None
    lengths = {len(row) for row in rows}
    if lengths != {len(rows)}:
        raise ConfigError(
            'compatibility of DenseCRF must be a square matrix over background and '
            f'classes, not {len(rows)} rows of {sorted(lengths)} numbers'
        )
    return torch.tensor(rows, dtype=torch.float64)


def _number(value: Any) -> str:
    """A setting as a text; of several numbers with slashes."""
    if isinstance(value, list | tuple):
        return '/'.join(map(_number, value))
    return f'{value:g}' if isinstance(value, int | float) else str(value)
