"""The contract of a seed head, and what heads share."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import ClassVar

import torch
from torch import Tensor, nn

from wsss_plugins.backbones import Trace, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError, DataError, UserError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.output import check_finite, check_maps, check_shape


class SeedHead(nn.Module, ABC):
    """From a trained classifier to class localisation maps.

    A new method overrides :meth:`class_maps` alone; one that looks at a class at a time
    derives from :class:`PerClassHead` instead. All images of a batch and all classes of
    an image share one forward pass.

    The attributes say of which models a head can make maps. Their defaults are those of
    a head that reads the attention row of one class token; a head states what differs.

    Attributes:
        needs_grad: Whether :meth:`class_maps` differentiates.
        needs_attention: Whether it reads attention. The trace of one that does not has
            none, and its backbone runs as fast as it can.
        needs_class_token: Whether the map is what the class token gathers. Such a head is
            refused for a model whose logits come from the patch tokens, and for one with
            a token for each class. A head that takes the class from elsewhere (patch
            logits, gradients of the class's logit) sets it to False.
        follows_class_tokens: Whether, where every class has a token of its own, the map
            is what that token gathers: the head takes its rows from :func:`class_rows`.
    """

    needs_grad: ClassVar[bool] = False
    needs_attention: ClassVar[bool] = True
    needs_class_token: ClassVar[bool] = True
    follows_class_tokens: ClassVar[bool] = False

    @abstractmethod
    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """Maps of a batch from one captured forward pass.

        Args:
            model: The classifier, in evaluation mode.
            trace: Tokens and attention of the batch.
            labels: ``(N, C)`` in {0, 1}.

        Returns:
            ``(N, C, h, w)`` on the patch grid or finer. Absent classes and negative
            values are set to 0 afterwards.
        """

    def checked_maps(
        self, model: WSSSClassifier, trace: Trace, labels: Tensor
    ) -> Tensor:
        """What :meth:`class_maps` returns, without its graph.

        Raises:
            PlugInError: The maps are not ``(N, C, h, w)``, or are coarser than the patch
                grid.
        """
        maps = self.class_maps(model, trace, labels)
        who = f'{type(self).__name__}.class_maps'
        shape = (len(labels), model.num_classes)
        return check_shape(who, maps, shape, 'N, C', trace.grid).detach()

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
            PlugInError: The method returned something else than such maps.
        """
        return self.signed_maps(model, images, labels).clamp(min=0)

    def __call__(self, model: WSSSClassifier, images: Tensor, labels: Tensor) -> Tensor:
        """Calls :meth:`forward` and checks the maps, also those of a head with its own."""
        maps = super().__call__(model, images, labels)
        check_maps(type(self).__name__, maps, labels)
        return maps

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
            PlugInError: The method returned something else than such maps.
        """
        self.check_model(model)
        expected = (len(images), model.num_classes)
        if tuple(labels.shape) != expected:
            raise DataError(
                f'labels must be of shape {expected} (images, classes), not '
                f'{tuple(labels.shape)}'
            )
        with _evaluating(model), self.look(model, images) as trace:
            maps = self.checked_maps(model, trace, labels)
        check_finite(type(self).__name__, maps)
        return torch.where(labels[:, :, None, None] != 0, maps, maps.new_zeros(()))

    def check_model(self, model: WSSSClassifier) -> None:
        """Refuses a model that this method says nothing of.

        Raises:
            UserError: The method cannot read this model; the message names the reason
                and the registered heads that can.
        """
        mismatch = self._mismatch(model)
        if mismatch is None:
            return
        reason, otherwise = mismatch
        fitting = ', '.join(fitting_heads(model)) or 'another model'
        hint = f'; if that is not so, its class must state {otherwise}'
        raise ConfigError(
            f'{reason}: take {fitting}{hint * (not self._states_needs())}'
        )

    def _states_needs(self) -> bool:
        """Whether the author of the head stated of which models it makes maps."""
        flags = ('needs_attention', 'needs_class_token', 'follows_class_tokens')
        own = [vars(cls) for cls in type(self).__mro__ if cls is not SeedHead]
        return any(flag in attributes for attributes in own for flag in flags)

    def _mismatch(self, model: WSSSClassifier) -> tuple[str, str] | None:
        """Why the attributes of the class forbid a model; None where they do not.

        Returns:
            The reason, and the attribute of a head of which it is not true.
        """
        name, backbone = type(self).__name__, model.backbone
        kind = type(backbone).__name__
        if self.needs_attention and not backbone.attention_modules():
            reason = f'{name} reads attention, and {kind} has none'
            return reason, 'needs_attention = False'
        if self.needs_class_token and not model.head.reads_class_token:
            reason = (
                f'{name} shows what the class token gathers, and the logits of '
                f'{type(model.head).__name__} come from the patch tokens'
            )
            return reason, 'needs_class_token = False'
        several = backbone.num_class_tokens > 1
        if self.needs_class_token and several and not self.follows_class_tokens:
            reason = f'{name} reads one class token, and {kind} has one for each class'
            otherwise = (
                'needs_class_token = False, or follows_class_tokens = True with rows from '
                'class_rows'
            )
            return reason, otherwise
        return None

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
        who, grid = f'{type(self).__name__}.slot_maps', trace.grid
        found = []
        for part in slots.split(self.classes_per_pass or len(slots)):
            maps = self.slot_maps(model, trace, part)
            shape = (part.shape[0], part.shape[1])
            found.append(check_shape(who, maps, shape, 'K, N', grid))
        return torch.cat(found)


def fitting_heads(model: WSSSClassifier) -> list[str]:
    """Names of the registered seed heads that, with their defaults, accept a model.

    Heads that must be given arguments, or that are made of another head, are left out.
    """
    names = []
    for name, cls in sorted(SEED_HEADS.module_dict.items()):
        parameters = inspect.signature(cls).parameters.values()
        named = [
            p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        ]
        if any(p.default is p.empty for p in named):
            continue
        head = cls()
        parts = [part for part in head.modules() if isinstance(part, SeedHead)]
        if len(parts) == 1 and head._mismatch(model) is None:
            with suppress(UserError):
                head.check_model(model)
                names.append(name)
    return names


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
