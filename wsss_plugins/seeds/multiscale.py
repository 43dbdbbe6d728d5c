"""Averages the maps of a seed head over several scales and flips of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.seeds.base import SeedHead
from wsss_plugins.structures.views import scaled


class MultiScaleFlip:
    """Runs a seed head on scaled and mirrored copies and averages the maps.

    Args:
        head: The seed head.
        scales: Factors of the input's sides; sides are rounded to multiples of the
            backbone's stride.
        flip: Whether to add the mirrored image.
        align_corners: Convention of the resizing of maps to the output size; True as in
            ACR.

    Raises:
        ConfigError: ``scales`` is empty, or a scale is not positive.
    """

    def __init__(
        self,
        head: SeedHead,
        scales: Sequence[float] = (1.0,),
        flip: bool = True,
        align_corners: bool = False,
    ) -> None:
        if not scales or min(scales) <= 0:
            raise ConfigError(
                f'scales must be positive, not {tuple(scales)}', token='scales'
            )
        self.head = head
        self.scales = tuple(scales)
        self.flip = flip
        self.align_corners = align_corners

    def __call__(
        self,
        model: WSSSClassifier,
        images: Tensor,
        labels: Tensor,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Averages the maps of all copies.

        Args:
            model: The classifier.
            images: ``(N, 3, H, W)``, normalised.
            labels: ``(N, C)`` in {0, 1}.
            size: ``(H', W')`` of the result; by default that of the images.

        Returns:
            ``(N, C, H', W')`` >= 0.
        """
        size = size or (images.shape[-2], images.shape[-1])
        maps = [
            F.interpolate(
                total, size=size, mode='bilinear', align_corners=self.align_corners
            )
            for total in self._totals(model, images, labels)
        ]
        return sum(maps[1:], start=maps[0]) / self._count

    def parts(
        self, model: WSSSClassifier, images: Tensor, labels: Tensor
    ) -> list[Tensor]:
        """The maps of every scale, which sum to the average where they have one size.

        Args:
            model: The classifier.
            images: ``(N, 3, H, W)``, normalised.
            labels: ``(N, C)`` in {0, 1}.

        Returns:
            ``(N, C, h, w)`` >= 0 for each scale, as the head makes them.
        """
        return [total / self._count for total in self._totals(model, images, labels)]

    @property
    def _count(self) -> int:
        """Number of views."""
        return len(self.scales) * (1 + self.flip)

    def _totals(
        self, model: WSSSClassifier, images: Tensor, labels: Tensor
    ) -> Iterator[Tensor]:
        """The maps of the two views of every scale, added."""
        for scale in self.scales:
            view = scaled(images, scale, model.backbone.multiple)
            total = self.head(model, view, labels)
            if self.flip:
                total = total + self.head(model, view.flip(-1), labels).flip(-1)
            yield total
