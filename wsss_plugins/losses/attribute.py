"""The local losses of eX-ViT on the attributes of two views of an image.

Source: Yu et al., eX-ViT: A Novel eXplainable Vision Transformer for Weakly Supervised
Semantic Segmentation, 2022, eqs. 13 to 15. docs/methods.md explains what the paper
leaves open.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS

FLOOR = 1e-6
"""Lower bound of generalised means, so that the root of each has a gradient."""

SMALLEST_NORM = 1e-8
"""Vectors shorter than this have cosine 0 with every other, and no gradient."""

LARGEST_POWER = 6.0
"""``FLOOR`` to this power is still a number of float32."""


class AttributeFeatures(Protocol):
    """The attribute features G of a batch, ``(N, S, D, h, w)``, perhaps as factors."""

    def pooled(self, power: float) -> Tensor:
        """g(G_s), ``(N, S, D)``; see :func:`generalised_mean`."""

    def inner_products(self) -> Tensor:
        """<G_i, G_j>, ``(N, S, S)``; see :func:`inner_products`."""


def generalised_mean(values: Tensor, power: float = 3.0) -> Tensor:
    """Generalised mean pooling over the image, ``(mean x^p)^(1/p)``.

    Defined for values >= 0; negative values are replaced by 0, as in the code of its
    authors.

    Source: Radenovic et al., Fine-tuning CNN Image Retrieval with No Human Annotation,
    PAMI 2018, eq. 3.

    Args:
        values: ``(..., h, w)``.
        power: p; 1 gives the mean, and a larger p a value closer to the maximum.

    Returns:
        ``(...)``, at least ``FLOOR``.
    """
    powers = at_least_float32(values).clamp(min=0).pow(power)
    return power_mean_root(powers.mean((-2, -1)), power)


def power_mean_root(mean: Tensor, power: float) -> Tensor:
    """``mean^(1/p)``, at least ``FLOOR``; its gradient is finite at 0."""
    return mean.clamp(min=FLOOR**power).pow(1 / power)


def at_least_float32(values: Tensor) -> Tensor:
    """Casts to float32, since powers and sums of squares overflow half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def inner_products(attributes: Tensor) -> Tensor:
    """``<G_i, G_j>`` over all channels and places.

    Args:
        attributes: G, ``(N, S, ...)``.

    Returns:
        ``(N, S, S)``.
    """
    flat = at_least_float32(attributes).flatten(2)
    return flat @ flat.transpose(1, 2)


def normalised_mse(first: Tensor, second: Tensor) -> Tensor:
    """Squared distance of two unit vectors, ``2 - 2 cos``, in [0, 4].

    Source: Grill et al., Bootstrap Your Own Latent (BYOL), NeurIPS 2020, eq. 2.

    Args:
        first: ``(..., D)``.
        second: The same shape.

    Returns:
        ``(...)``.
    """
    return 2 - 2 * F.cosine_similarity(first, second, dim=-1, eps=SMALLEST_NORM)


def attribute_discriminability(pooled: Tensor, other: Tensor) -> Tensor:
    """``L_dis = |d - sum_s d_s|`` (eq. 13), mean over the batch.

    d compares all attributes of the two views together, d_s attribute s alone. The loss
    is 0 where every attribute has the same features in both views, and always with S =
    1.

    Args:
        pooled: g(G_s) of the first view, ``(N, S, D)``.
        other: g(G_s) of the second view, ``(N, S, D)``.

    Returns:
        A scalar >= 0.
    """
    together = normalised_mse(pooled.flatten(1), other.flatten(1))
    each = normalised_mse(pooled, other).sum(1)
    return (together - each).abs().mean()


def attribute_diversity(products: Tensor) -> Tensor:
    """``L_div`` (eq. 14): mean cosine of two attributes over all pairs and the batch.

    Args:
        products: ``(N, S, S)``, of :func:`inner_products`.

    Returns:
        A scalar in [-1, 1]; 0 with S = 1, where there is no pair.
    """
    count = products.shape[1]
    squares = products.diagonal(dim1=1, dim2=2)
    norms = squares.clamp(min=SMALLEST_NORM**2).sqrt()
    cosines = products / (norms[:, :, None] * norms[:, None])
    pairs = ~torch.eye(count, dtype=torch.bool, device=products.device)
    return (cosines * pairs).sum() / max(1, len(products) * count * (count - 1))


@MODELS.register_module()
class AttributeLoss(nn.Module):
    """``alpha L_dis + beta L_div`` of eq. 15; the classifier adds ``L_global``.

    Args:
        discriminability: alpha; 0 switches ``L_dis`` off, and the second view is not
            needed.
        diversity: beta; 0 switches ``L_div`` off.
        power: p of the generalised mean pooling.

    Raises:
        ConfigError: A weight is negative, or ``power`` is outside [1, 6].
    """

    def __init__(
        self, discriminability: float = 0.5, diversity: float = 1.0, power: float = 3.0
    ) -> None:
        super().__init__()
        for name, value in dict(
            discriminability=discriminability, diversity=diversity
        ).items():
            if not value >= 0:
                raise ConfigError(
                    f'{name} must be 0 (off) or more, not {value}', token=name
                )
        if not 1 <= power <= LARGEST_POWER:
            raise ConfigError(
                f'power must be in [1, {LARGEST_POWER:g}], not {power}', token='power'
            )
        self.discriminability = discriminability
        self.diversity = diversity
        self.power = power

    def forward(
        self, attributes: AttributeFeatures, other: AttributeFeatures | None = None
    ) -> dict[str, Tensor]:
        """Computes the losses of the attributes of a batch.

        Args:
            attributes: Attribute features of the first view.
            other: Attribute features of the second view, for ``L_dis``.

        Returns:
            ``loss_dis`` and ``loss_div``, weighted; a term of weight 0 is left out, and
            not computed.
        """
        losses = {}
        if self.discriminability and other is not None:
            gap = attribute_discriminability(
                attributes.pooled(self.power), other.pooled(self.power)
            )
            losses['loss_dis'] = self.discriminability * gap
        if self.diversity:
            overlap = attribute_diversity(attributes.inner_products())
            losses['loss_div'] = self.diversity * overlap
        return losses
