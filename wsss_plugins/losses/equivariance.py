"""Equivariance of class maps: the map of a view should be the view of the map."""

from __future__ import annotations

from torch import Tensor, nn

from wsss_plugins.losses.distances import check_weight, distance_named
from wsss_plugins.registry import MODELS

EPS = 1e-5


@MODELS.register_module()
class MapEquivarianceLoss(nn.Module):
    """Distance of the class maps of two views, the activation consistency of SEAM.

    This is a part of SEAM: its equivariant regularisation on plain class maps, without
    the pixel correlation module (section 3.3) and the other losses (section 3.4). Maps
    are cut at 0 and divided by their maximum. The mean runs over the places and the
    present classes of each image, then over the batch; an image without class adds 0.

    Source: Wang et al., Self-supervised Equivariant Attention Mechanism for Weakly
    Supervised Semantic Segmentation (SEAM), CVPR 2020, section 3.2.

    Args:
        weight: Factor of the loss.
        distance: ``'l1'`` (SEAM), ``'l2'`` or ``'smooth_l1'``.

    Raises:
        ConfigError: The distance is unknown, or ``weight`` is negative.
    """

    def __init__(self, weight: float = 1.0, distance: str = 'l1') -> None:
        super().__init__()
        check_weight('weight', weight)
        self.weight = weight
        self.distance = distance_named(distance)

    def forward(self, maps: Tensor, other: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compares the maps of the image and of the view.

        Args:
            maps: Class logits of the patches, ``(N, C, h, w)``.
            other: Class logits of the view, its patches re-ordered as in the image.
            labels: ``(N, C)`` in {0, 1}.

        Returns:
            ``loss_equivariance``, weighted.
        """
        gaps = self.distance(_scaled(maps), _scaled(other), reduction='none')
        per_class = gaps.mean((2, 3)) * labels
        per_image = per_class.sum(1) / labels.sum(1).clamp(min=1)
        return dict(loss_equivariance=self.weight * per_image.mean())


def _scaled(maps: Tensor) -> Tensor:
    """Maps in [0, 1], each divided by its maximum."""
    maps = maps.relu()
    return maps / (maps.amax((2, 3), keepdim=True) + EPS)
