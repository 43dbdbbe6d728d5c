"""The contract of a seed head, and what heads share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from wsss_plugins.backbones import Trace, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError, DataError, UserError


class SeedHead(nn.Module, ABC):
    """From a trained classifier to class localisation maps.

    A new method overrides :meth:`class_maps` alone; one that looks at a class at a time
    derives from :class:`PerClassHead` instead. All images of a batch and all classes of
    an image share one forward pass.

    Attributes:
        needs_grad: Whether :meth:`class_maps` differentiates.
        needs_attention: Whether it reads attention. The trace of one that does not has
            none, and its backbone runs as fast as it can.
        needs_class_token: True if the map is read from the class token's attention.
            Such a head is refused for models whose logits come from the patch tokens.
        follows_class_tokens: Whether, where every class has a token of its own, the map
            is what that token gathers; see :func:`class_rows`.
    """

    needs_grad: ClassVar[bool] = False
    needs_attention: ClassVar[bool] = True
    needs_class_token: ClassVar[bool] = False
    follows_class_tokens: ClassVar[bool] = False

    @abstractmethod
    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """Maps of a batch from one captured forward pass.

        Args:
            model: The classifier, in evaluation mode.
            trace: Tokens and attention of the batch.
            labels: ``(N, C)`` in {0, 1}.

        Returns:
            ``(N, C, h, w)`` on the patch grid or finer. Absent classes are set to 0
            afterwards.
        """

    def look(
        self, model: WSSSClassifier, images: Tensor
    ) -> AbstractContextManager[Trace]:
        """The forward pass that :meth:`class_maps` is shown; hooks end with it."""
        return capture(
            model.backbone,
            images,
            gradients=self.needs_grad,
            attention=self.needs_attention,
        )

    def forward(self, model: WSSSClassifier, images: Tensor, labels: Tensor) -> Tensor:
        """Localises the classes that are present.

        Args:
            model: The classifier; its mode and its gradients are left as they were.
            images: ``(N, 3, H, W)``, normalised.
            labels: ``(N, C)`` in {0, 1}, the image-level labels.

        Returns:
            ``(N, C, h, w)`` >= 0 on the patch grid or finer; absent classes are
            exactly 0.

        Raises:
            DataError: Labels of another shape than ``(N, C)``.
            UserError: A model that this method says nothing of.
        """
        return self.signed_maps(model, images, labels).clamp(min=0)

    def signed_maps(
        self, model: WSSSClassifier, images: Tensor, labels: Tensor
    ) -> Tensor:
        """The maps before negative values are removed.

        Args:
            model: As for :meth:`forward`.
            images: Likewise.
            labels: Likewise.

        Returns:
            ``(N, C, h, w)``; absent classes are exactly 0.

        Raises:
            DataError: Labels of another shape than ``(N, C)``.
            UserError: A model that this method says nothing of.
        """
        self.check_model(model)
        expected = (len(images), model.num_classes)
        if tuple(labels.shape) != expected:
            raise DataError(
                f'labels must be of shape {expected} (images, classes), not '
                f'{tuple(labels.shape)}'
            )
        with _evaluating(model), self.look(model, images) as trace:
            maps = self.class_maps(model, trace, labels).detach()
        return torch.where(labels[:, :, None, None] != 0, maps, maps.new_zeros(()))

    def check_model(self, model: WSSSClassifier) -> None:
        """Refuses a model that this method says nothing of.

        Raises:
            UserError: The method cannot read this model; the message names the reason
                and other methods.
        """
        if self.needs_attention and not model.backbone.attention_modules():
            raise ConfigError(
                f'{type(self).__name__} reads attention, and '
                f'{type(model.backbone).__name__} has none: take CAM, InputXGradient or '
                'IntegratedGradients, or a vision transformer, such as TimmViT'
            )
        if self.needs_class_token and not model.head.reads_class_token:
            raise UserError(
                f'{type(self).__name__} shows what the class token gathers, and the '
                f'logits of {type(model.head).__name__} come from the patch tokens: take '
                'the maps of the model itself (AttributeCAM, CAM), '
                'GenericAttentionRelevance, InputXGradient or IntegratedGradients'
            )
        several = model.backbone.num_class_tokens > 1
        if self.needs_class_token and several and not self.follows_class_tokens:
            raise UserError(
                f'{type(self).__name__} reads one class token, and '
                f'{type(model.backbone).__name__} has one for each class: take '
                'MCTformerMap, RawAttention, AttentionRollout, ACRGradientMap or '
                'GenericAttentionRelevance'
            )

    def maps_of(self, model: WSSSClassifier, images: Tensor, classes: Tensor) -> Tensor:
        """Signed maps of chosen classes of each image, for tests of explanations.

        Args:
            model: As for :meth:`forward`.
            images: Likewise.
            classes: ``(K, N)`` class ids; the same one may come twice.

        Returns:
            ``(K, N, h, w)``.
        """
        maps = self.signed_maps(model, images, _labels(model, images, classes))
        return maps[torch.arange(len(images), device=maps.device), classes]


class PerClassHead(SeedHead):
    """A seed head that looks at one class of each image at a time.

    A new method overrides :meth:`slot_maps` alone.

    Args:
        classes_per_pass: How many classes of an image :meth:`slot_maps` is given
            together; it bounds the memory, not the result. All by default.

    Raises:
        ConfigError: ``classes_per_pass`` is less than 1.
    """

    needs_grad = True

    def __init__(self, classes_per_pass: int | None = None) -> None:
        super().__init__()
        if classes_per_pass is not None and classes_per_pass < 1:
            raise ConfigError(
                f'classes_per_pass must be 1 or more, not {classes_per_pass}',
                token='classes_per_pass',
            )
        self.classes_per_pass = classes_per_pass

    @abstractmethod
    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """Maps of one class of each image per slot, from one captured forward pass.

        Args:
            model: The classifier, in evaluation mode.
            trace: Tokens and attention of the batch.
            slots: ``(K, N, C)`` one-hot or all-zero rows; see :func:`class_slots`.

        Returns:
            ``(K, N, h, w)`` on the patch grid or finer.
        """

    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """See :meth:`SeedHead.class_maps`."""
        slots = class_slots(labels)
        maps = self._in_passes(model, trace, slots)
        return torch.einsum('knhw,knc->nchw', maps, slots.to(maps))

    def maps_of(self, model: WSSSClassifier, images: Tensor, classes: Tensor) -> Tensor:
        """See :meth:`SeedHead.maps_of`."""
        self.check_model(model)
        slots = class_slots(_labels(model, images, classes))
        with _evaluating(model), self.look(model, images) as trace:
            maps = self._in_passes(model, trace, slots).detach()
        every = torch.arange(len(images), device=maps.device)
        slot = slots.argmax(0)[every, classes]  # (K, N): where each class is
        return maps[slot, every]

    def _in_passes(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        parts = slots.split(self.classes_per_pass or len(slots))
        return torch.cat([self.slot_maps(model, trace, part) for part in parts])


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode until the `with` ends."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _labels(model: WSSSClassifier, images: Tensor, classes: Tensor) -> Tensor:
    """Labels ``(N, C)`` of class ids ``(K, N)``."""
    labels = images.new_zeros(len(images), model.num_classes)
    return labels.scatter_(1, classes.T, 1)


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


def class_rows(model: WSSSClassifier, slots: Tensor) -> Tensor:
    """Which token gathers what is known of the class of each slot.

    Args:
        model: The classifier.
        slots: ``(K, N, C)``; see :func:`class_slots`.

    Returns:
        ``(K, N)`` int64: 0 where all classes share a class token, else the class, whose
        token is the prefix token of that number.
    """
    if model.backbone.num_class_tokens > 1:
        return slots.argmax(-1)
    return torch.zeros(slots.shape[:2], dtype=torch.long, device=slots.device)


def rows_of(matrix: Tensor, rows: Tensor) -> Tensor:
    """One row of an attention matrix for each slot and image.

    Args:
        matrix: ``(N, heads, T, T)``, or a gradient by it ``(K, N, heads, T, T)``.
        rows: ``(K, N)``, of :func:`class_rows`.

    Returns:
        ``(K, N, heads, T)``.
    """
    every = torch.arange(rows.shape[1], device=rows.device)
    if matrix.ndim == 4:
        return matrix[every, :, rows]
    return matrix[torch.arange(len(rows), device=rows.device)[:, None], every, :, rows]


def patch_grid(values: Tensor, trace: Trace) -> Tensor:
    """Reshapes values ``(..., n)`` of the patches to ``(..., h, w)``."""
    return values.reshape(*values.shape[:-1], *trace.grid)


def block_index(block: int, depth: int) -> int:
    """The index of a block that may count from the end.

    Raises:
        ConfigError: ``block`` is outside ``-depth`` to ``depth - 1``.
    """
    if not -depth <= block < depth:
        raise ConfigError(
            f'the backbone has blocks 0 to {depth - 1} (or -{depth} to -1), not {block}',
            token='block',
        )
    return block % depth
