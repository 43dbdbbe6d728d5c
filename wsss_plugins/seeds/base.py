"""The contract of a seed head, and what heads share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from wsss_plugins.backbones import Trace, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import DataError


class SeedHead(nn.Module, ABC):
    """From a trained classifier to class localisation maps.

    A new method overrides :meth:`class_maps` alone. All images of a batch and all
    classes of an image share one forward pass.

    Attributes:
        needs_grad: Whether :meth:`class_maps` differentiates.
    """

    needs_grad: ClassVar[bool] = False

    @abstractmethod
    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """Maps of a batch from one captured forward pass.

        Args:
            model: The classifier, in evaluation mode.
            trace: Tokens and attention of the batch.
            labels: ``(N, C)`` in {0, 1}.

        Returns:
            ``(N, C, h, w)``. Negative values and absent classes are set to 0 afterwards.
        """

    def forward(self, model: WSSSClassifier, images: Tensor, labels: Tensor) -> Tensor:
        """Localises the classes that are present.

        Args:
            model: The classifier; its mode and its gradients are left as they were.
            images: ``(N, 3, H, W)``, normalised.
            labels: ``(N, C)`` in {0, 1}, the image-level labels.

        Returns:
            ``(N, C, h, w)`` >= 0 on the patch grid; absent classes are exactly 0.

        Raises:
            DataError: Labels of another shape than ``(N, C)``.
        """
        expected = (len(images), model.num_classes)
        if tuple(labels.shape) != expected:
            raise DataError(
                f'labels must be of shape {expected} (images, classes), not '
                f'{tuple(labels.shape)}'
            )
        training = model.training
        model.eval()
        try:
            with capture(model.backbone, images, gradients=self.needs_grad) as trace:
                maps = self.class_maps(model, trace, labels).detach()
        finally:
            model.train(training)
        return maps.clamp(min=0) * labels[:, :, None, None].to(maps)


def class_slots(labels: Tensor) -> Tensor:
    """Spreads the classes of each image over as few slots as possible.

    Gradients of a batch are taken slot by slot, with one class per image in each, so
    that the cost is that of the image with the most classes and not of all classes.

    Args:
        labels: ``(N, C)`` in {0, 1}.

    Returns:
        ``(K, N, C)`` one-hot or all-zero rows, K the largest number of classes of an
        image, at least 1; they sum to ``labels`` over K.
    """
    rank = labels.long().cumsum(1) * labels.long()  # 1, 2 ... for the present classes
    slots = torch.arange(1, max(1, int(rank.max())) + 1, device=labels.device)
    return (rank[None] == slots[:, None, None]).to(labels.dtype)


def from_slots(maps: Tensor, slots: Tensor) -> Tensor:
    """Puts maps ``(K, N, h, w)`` of :func:`class_slots` back to ``(N, C, h, w)``."""
    return torch.einsum('knhw,knc->nchw', maps, slots.to(maps))


def patch_grid(values: Tensor, trace: Trace) -> Tensor:
    """Reshapes values ``(..., n)`` of the patches to ``(..., h, w)``."""
    return values.reshape(*values.shape[:-1], *trace.grid)
