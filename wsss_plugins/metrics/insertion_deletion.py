"""Insertion and deletion: a class's probability as its pixels appear or vanish.

Source: Petsiuk et al., RISE, BMVC 2018, section 4.2. Deletion replaces the most
relevant pixels by a constant (a small area under the curve is good), insertion restores
them in a blurred image (a large area is good).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics.masking import (
    LogitsOf,
    area_under_curve,
    check_classes,
    check_images,
    masked_logits,
    pixel_counts,
    pixel_ranks,
)
from wsss_plugins.metrics.per_image import PerImage, mean_over_images

PROBABILITIES = ('softmax', 'sigmoid')


def insertion_deletion_probabilities(
    logits_of: LogitsOf,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    normalise: Callable[[Tensor], Tensor],
    steps: int = 100,
    fill: float | Sequence[float] = 0.5,
    blur: tuple[int, float] = (11, 5.0),
    batch_size: int = 32,
    probability: str = 'softmax',
) -> Tensor:
    """Probability of one class per image at every step.

    Args:
        logits_of: Network, normalised images ``(B, C, H, W)`` to logits ``(B, K)``.
        images: ``(N, C, H, W)`` in [0, 1], sides above half the kernel of the blur.
        maps: Relevance ``(N, H, W)`` for these classes, finite.
        classes: ``(N,)`` in 0..K-1.
        normalise: Normalisation of images in [0, 1] for the network.
        steps: S; step k exchanges k / S of the pixels. RISE: 224 for 224 x 224.
        fill: Value of deleted pixels, in [0, 1], for all channels or for each. RISE
            uses the mean of the normalisation.
        blur: Side of the Gaussian kernel (odd) and its deviation, in pixels; RISE's
            are the default. Borders are mirrored; RISE's are zero after normalisation.
        batch_size: Images per forward pass.
        probability: ``'softmax'`` over the classes, as in RISE; or ``'sigmoid'`` of the
            logit of the class, whatever other classes are in the image.

    Returns:
        ``(N, 2, S + 1)``: insertion and deletion, fractions in [0, 1].

    Raises:
        DataError: The shapes do not match, an image is outside [0, 1], a map has NaN,
            or a class is out of range.
        ConfigError: ``steps`` or ``batch_size`` is too small, or ``probability`` is none
            of the two.
    """
    check_probability(probability)
    check_images(images, maps)
    spans = [(0, count) for count in pixel_counts(maps[0].numel(), steps)]
    ranks = pixel_ranks(maps.to(images.device))
    blurred = gaussian_blur(images, blur[0], blur[1])
    constant = images.new_tensor(fill).view(-1, 1, 1).expand_as(images)
    curves = []
    for old, new in ((blurred, images), (images, constant)):
        logits = masked_logits(
            lambda batch: logits_of(normalise(batch)),
            old,
            new,
            ranks,
            spans,
            batch_size,
        )
        check_classes(classes, len(images), logits.shape[-1])
        index = classes.to(logits.device).view(-1, 1, 1).expand(-1, len(spans), 1)
        found = logits.sigmoid() if probability == 'sigmoid' else logits.softmax(-1)
        curves.append(found.gather(-1, index)[..., 0])
    return torch.stack(curves, 1)


def check_probability(given: str) -> None:
    """Refuses a name of a probability that is unknown.

    Raises:
        ConfigError: ``given`` is not in :data:`PROBABILITIES`.
    """
    if given not in PROBABILITIES:
        raise ConfigError(
            f'probability must be one of {PROBABILITIES}, not {given!r}',
            token='probability',
        )


@dataclass(frozen=True, eq=False)
class InsertionDeletionScores:
    """Means over the images, as fractions, as in RISE.

    Attributes:
        images: Number of images that were evaluated.
        insertion: Mean probability at each step of insertion, ``(S + 1,)``.
        deletion: Mean probability at each step of deletion, ``(S + 1,)``.
    """

    images: int
    insertion: np.ndarray
    deletion: np.ndarray

    @property
    def insertion_auc(self) -> float:
        """Area under :attr:`insertion` over the share of pixels; high is good."""
        return _area(self.insertion)

    @property
    def deletion_auc(self) -> float:
        """Area under :attr:`deletion` over the share of pixels; low is good."""
        return _area(self.deletion)

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists for JSON."""
        return dict(
            images=self.images,
            insertion_auc=self.insertion_auc,
            deletion_auc=self.deletion_auc,
            insertion=self.insertion.tolist(),
            deletion=self.deletion.tolist(),
        )


def _area(curve: np.ndarray) -> float:
    return float(area_under_curve(curve, 1 / (len(curve) - 1)))


class InsertionDeletion(PerImage):
    """Accumulates the curves of :func:`insertion_deletion_probabilities`.

    Args:
        steps: S, the number of steps.
    """

    def __init__(self, steps: int = 100) -> None:
        super().__init__(dict(probability=(2, steps + 1)))

    def update(self, probabilities: Tensor) -> None:
        """Adds some images.

        Args:
            probabilities: ``(N, 2, S + 1)``: insertion and deletion.

        Raises:
            DataError: The number of steps is another, or a probability is not finite.
        """
        if not probabilities.isfinite().all():
            raise DataError(
                'the network gives logits that are not finite: check its weights'
            )
        self.load(dict(probability=probabilities.detach().double().cpu()))

    def compute(self) -> InsertionDeletionScores:
        """Averages over the images.

        Raises:
            DataError: No image was added.
        """
        insertion, deletion = mean_over_images(self.state()['probability'])
        return InsertionDeletionScores(len(self), insertion, deletion)
