"""Perturbation tests: how a classifier's prediction changes as pixels are removed.

Source: Chefer et al., CVPR 2021, section 4 and the released evaluation. Positive
perturbation removes the most relevant pixels first (the accuracy should fall fast),
negative perturbation the least relevant (it should stay). For maps of the predicted
class and for maps of the target class, accuracy is measured against the labels of the
data set.

The paper reports an area under the curve that the released script does not compute.
Here it is the trapezoid over the unperturbed accuracy and nine levels, dx 0.1, as in
the reproduction by the ReScience paper; its highest value is 90 %.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsss_plugins.errors import DataError
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

SIGNS = ('positive', 'negative')


def perturbed_logits(
    logits_of: LogitsOf,
    images: Tensor,
    maps: Tensor,
    *,
    normalise: Callable[[Tensor], Tensor],
    steps: int = 10,
    batch_size: int = 32,
) -> Tensor:
    """Logits of images with more and more pixels set to 0.

    Pixels are set to 0, black, in all channels *before* normalisation; every level
    starts from the clean image. Maps of the predicted class and of the target class
    need two calls.

    Args:
        logits_of: Network, normalised images ``(B, C, H, W)`` to logits ``(B, K)``.
        images: ``(N, C, H, W)`` in [0, 1].
        maps: Relevance ``(N, H, W)``, finite; its scale does not matter.
        normalise: Normalisation of images in [0, 1] for the network.
        steps: Levels are 0, 1/steps .. (steps - 1)/steps of the pixels.
        batch_size: Images per forward pass.

    Returns:
        ``(N, 2, steps, K)``: positive and negative; level 0 is the clean image.

    Raises:
        DataError: The shapes do not match, an image is outside [0, 1], or a map has
            NaN.
        ConfigError: ``steps`` or ``batch_size`` is too small.
    """
    check_images(images, maps)
    pixels = maps[0].numel()
    counts = pixel_counts(pixels, steps)[:-1]
    spans = [(0, count) for count in counts]
    spans += [(pixels - count, pixels) for count in counts[1:]]
    ranks = pixel_ranks(maps.to(images.device))
    logits = masked_logits(
        lambda batch: logits_of(normalise(batch)),
        images,
        torch.zeros_like(images),
        ranks,
        spans,
        batch_size,
    )
    negative = torch.cat([logits[:, :1], logits[:, steps:]], 1)
    return torch.stack([logits[:, :steps], negative], 1)


@dataclass(frozen=True, eq=False)
class PerturbationScores:
    """Means over the images; first axis: positive, negative; P levels with 0.

    Attributes:
        images: Number of images that were evaluated.
        accuracy: Top-1 accuracy in percent, ``(2, P)``.
        dissimilarity: Mean of log(p_target / second highest p), ``(2, P)``.
        logit_difference: Highest logit less the clean image's, ``(2, P)``.
        probability_difference: Highest probability less the clean image's, ``(2, P)``.
    """

    images: int
    accuracy: np.ndarray
    dissimilarity: np.ndarray
    logit_difference: np.ndarray
    probability_difference: np.ndarray

    @property
    def levels(self) -> np.ndarray:
        """Share of the pixels that is removed, ``(P,)``: 0, 0.1 .. 0.9 for P = 10."""
        return np.arange(self.accuracy.shape[1]) / self.accuracy.shape[1]

    @property
    def auc(self) -> np.ndarray:
        """Area under :attr:`accuracy`, ``(2,)``, percent; at most 90 for 10 levels."""
        return area_under_curve(self.accuracy, 1 / self.accuracy.shape[1])

    def to_dict(self) -> dict[str, Any]:
        """Numbers and lists for JSON, by sign."""
        curves = (
            *('accuracy', 'dissimilarity'),
            *('logit_difference', 'probability_difference'),
        )
        by_sign = {
            sign: dict(
                auc=float(self.auc[i]),
                **{key: getattr(self, key)[i].tolist() for key in curves},
            )
            for i, sign in enumerate(SIGNS)
        }
        return dict(images=self.images, levels=self.levels.tolist(), **by_sign)


class Perturbation(PerImage):
    """Accumulates the logits of :func:`perturbed_logits`.

    Args:
        steps: P, the number of levels, the clean image counted.
    """

    def __init__(self, steps: int = 10) -> None:
        names = (
            *('hits', 'dissimilarity'),
            *('logit_difference', 'probability_difference'),
        )
        super().__init__(dict.fromkeys(names, (2, steps)))

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Adds some images.

        The dissimilarity is the logit of the target minus the second highest logit.
        This equals the original's logarithm of the ratio of two softmax values, without
        underflow.

        Args:
            logits: ``(N, 2, P, K)`` of :func:`perturbed_logits`.
            targets: ``(N,)`` classes of the data set's labels, for maps of any class.

        Raises:
            DataError: The shapes do not match, a logit is not finite, or a class is out
                of range.
        """
        expected = self.shapes['hits']
        if logits.ndim != 4 or logits.shape[1:3] != expected or logits.shape[3] < 2:
            raise DataError(
                f'logits must be (N, {expected[0]}, {expected[1]}, at least 2 classes), '
                f'not {tuple(logits.shape)}'
            )
        check_classes(targets, len(logits), logits.shape[-1])
        if not logits.isfinite().all():
            raise DataError(
                'the network gives logits that are not finite: check its weights'
            )
        logits = logits.detach().double().cpu()
        top, second = logits.topk(2, dim=-1).values.unbind(-1)
        index = targets.cpu().view(-1, 1, 1, 1).expand(*logits.shape[:3], 1)
        probability = logits.softmax(-1).amax(-1)
        self.load(
            dict(
                hits=logits.argmax(-1) == index[..., 0],
                dissimilarity=logits.gather(-1, index)[..., 0] - second,
                logit_difference=top - top[..., :1],
                probability_difference=probability - probability[..., :1],
            )
        )

    def compute(self) -> PerturbationScores:
        """Averages over the images.

        Raises:
            DataError: No image was added.
        """
        means = {key: mean_over_images(rows) for key, rows in self.state().items()}
        accuracy = 100 * means.pop('hits')
        return PerturbationScores(len(self), accuracy, **means)
