"""The contract of seed heads, and functions that several of them use."""

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
    """Computes class localisation maps from a trained classifier.

    A new method overrides :meth:`class_maps` alone. A method that computes the map of one
    class at a time derives from :class:`PerClassHead` instead. All images of a batch and
    all classes of an image share one forward pass.

    The attributes state for which models a head can compute maps. Their defaults suit a
    head that reads the attention row of a single class token; other heads override them.

    Attributes:
        needs_grad: True if :meth:`class_maps` computes gradients.
        needs_attention: True if :meth:`class_maps` reads attention. Otherwise the trace
            holds no attention, and the backbone runs its faster fused attention.
        needs_class_token: True if the map is read from the attention of a class token.
            Such a head is refused for a model whose logits come from the patch tokens,
            and for a model with one token per class. A head that obtains the class in
            another way (patch logits, gradients of the class's logit) sets it to False.
        follows_class_tokens: True if, in a model with one token per class, the head reads
            each class from its own token, whose row :func:`class_rows` gives.
    """

    needs_grad: ClassVar[bool] = False
    needs_attention: ClassVar[bool] = True
    needs_class_token: ClassVar[bool] = True
    follows_class_tokens: ClassVar[bool] = False

    @abstractmethod
    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """Computes the maps of a batch from one captured forward pass.

        Args:
            model: The classifier, in evaluation mode.
            trace: Tokens and attention of the batch.
            labels: ``(N, C)`` in {0, 1}, the image-level labels.

        Returns:
            ``(N, C, h, w)`` on the patch grid or finer. :meth:`forward` sets the maps of
            absent classes and negative values to 0.
        """

    def checked_maps(
        self, model: WSSSClassifier, trace: Trace, labels: Tensor
    ) -> Tensor:
        """Calls :meth:`class_maps`, checks the shape, and detaches from the graph.

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
        """Runs and captures the forward pass whose trace :meth:`class_maps` is given.

        The forward hooks are removed when the context ends.
        """
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
            ``(N, C, h, w)`` >= 0 on the patch grid or finer; the maps of absent classes
            are exactly 0.

        Raises:
            DataError: The shape of ``labels`` is not ``(N, C)``.
            UserError: The head cannot compute maps for this model.
            PlugInError: :meth:`class_maps` returned no tensor, maps of a wrong shape, or
                NaN or infinite values.
        """
        return self.signed_maps(model, images, labels).clamp(min=0)

    def __call__(self, model: WSSSClassifier, images: Tensor, labels: Tensor) -> Tensor:
        """Calls :meth:`forward` and checks its maps, also when a subclass overrides it."""
        maps = super().__call__(model, images, labels)
        check_maps(type(self).__name__, maps, labels)
        return maps

    def signed_maps(
        self, model: WSSSClassifier, images: Tensor, labels: Tensor
    ) -> Tensor:
        """Computes the maps of :meth:`forward` with their negative values.

        Args:
            model: The classifier; its mode and its gradients are left as they were.
            images: ``(N, 3, H, W)``, normalised.
            labels: ``(N, C)`` in {0, 1}, the image-level labels.

        Returns:
            ``(N, C, h, w)``; the maps of absent classes are exactly 0.

        Raises:
            DataError: The shape of ``labels`` is not ``(N, C)``.
            UserError: The head cannot compute maps for this model.
            PlugInError: :meth:`class_maps` returned no tensor, maps of a wrong shape, or
                NaN or infinite values.
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
        """Refuses a model for which this head cannot compute maps.

        Raises:
            UserError: The head cannot compute maps for this model; the message names the
                reason and the registered heads that can.
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
        """Whether a subclass sets one of the flags that state which models it accepts."""
        flags = ('needs_attention', 'needs_class_token', 'follows_class_tokens')
        own = [vars(cls) for cls in type(self).__mro__ if cls is not SeedHead]
        return any(flag in attributes for attributes in own for flag in flags)

    def _mismatch(self, model: WSSSClassifier) -> tuple[str, str] | None:
        """Checks a model against the flags of the class.

        Returns:
            None if the model is accepted; otherwise the reason, and the flag that a head
            for which the reason is not true would set.
        """
        name, backbone = type(self).__name__, model.backbone
        kind = type(backbone).__name__
        if self.needs_attention and not backbone.attention_modules():
            why = backbone.without_attention or f'{kind} has none'
            reason = f'{name} reads attention, and {why}'
            return reason, 'needs_attention = False'
        return self._class_token_mismatch(model) if self.needs_class_token else None

    def _class_token_mismatch(self, model: WSSSClassifier) -> tuple[str, str] | None:
        """Checks a model for the class token that the maps are read from."""
        name, backbone = type(self).__name__, model.backbone
        kind = type(backbone).__name__
        if not model.head.reads_class_token:
            reason = (
                f'{name} shows what the class token gathers, and the logits of '
                f'{type(model.head).__name__} come from the patch tokens'
            )
            return reason, 'needs_class_token = False'
        if not backbone.has_class_token:
            reason = f'{name} reads the class token, and {kind} has none'
            return reason, 'needs_class_token = False'
        if backbone.num_class_tokens > 1 and not self.follows_class_tokens:
            reason = f'{name} reads one class token, and {kind} has one for each class'
            otherwise = (
                'needs_class_token = False, or follows_class_tokens = True with rows from '
                'class_rows'
            )
            return reason, otherwise
        return None

    def maps_of(self, model: WSSSClassifier, images: Tensor, classes: Tensor) -> Tensor:
        """Computes signed maps of chosen classes, for tests of explanations.

        Args:
            model: The classifier; its mode and its gradients are left as they were.
            images: ``(N, 3, H, W)``, normalised.
            classes: ``(K, N)`` class ids, K for each image; an image may have the same
                class several times.

        Returns:
            ``(K, N, h, w)``.
        """
        maps = self.signed_maps(model, images, _labels(model, images, classes))
        return maps[torch.arange(len(images), device=maps.device), classes]


class PerClassHead(SeedHead):
    """A seed head that computes the map of one class at a time, such as from gradients.

    A new method overrides :meth:`slot_maps` alone. A *slot* is one backward pass of the
    batch: it covers at most one class of each image, since the gradients of two classes
    of the same image need two backward passes. All slots share one forward pass.

    Args:
        classes_per_pass: Number of slots that :meth:`slot_maps` is given in one call; all
            by default. A smaller number needs less memory and gives the same maps.

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
        """Computes the map of one class of each image in each of K backward passes.

        Args:
            model: The classifier, in evaluation mode.
            trace: Tokens and attention of the batch.
            slots: ``(K, N, C)``. Row ``slots[k, n]`` is one-hot at the class of image n
                that backward pass k covers, or all zero if it covers no class of this
                image; :func:`class_slots` makes it.

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
    """Names of the registered seed heads that accept a model with their default arguments.

    Heads with required arguments, and heads that wrap another head, are left out.
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
    """Sets evaluation mode, and restores the earlier mode when the context ends."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _labels(model: WSSSClassifier, images: Tensor, classes: Tensor) -> Tensor:
    """Turns class ids ``(K, N)`` into labels ``(N, C)`` in {0, 1}."""
    labels = images.new_zeros(len(images), model.num_classes)
    return labels.scatter_(1, classes.T, 1)


def class_slots(labels: Tensor) -> Tensor:
    """Distributes the classes of a batch over as few backward passes as possible.

    Each backward pass (slot) covers at most one class of each image. The number of passes
    is therefore the number of classes of the image that has the most, and not the number
    of classes of the data set.

    Args:
        labels: ``(N, C)`` in {0, 1}, the image-level labels.

    Returns:
        ``(K, N, C)``: row ``[k, n]`` is one-hot at the class of image n that backward pass
        k covers, or all zero. K is the largest number of classes of an image, at least
        1. The sum over K is ``labels``.
    """
    rank = labels.long().cumsum(1) * labels.long()  # 1, 2 ... for the present classes
    slots = torch.arange(1, max(1, int(rank.max())) + 1, device=labels.device)
    return (rank[None] == slots[:, None, None]).to(labels.dtype)


def class_rows(model: WSSSClassifier, slots: Tensor) -> Tensor:
    """Index of the class token of the class that each backward pass covers.

    Args:
        model: The classifier.
        slots: ``(K, N, C)``, the classes of K backward passes; see :func:`class_slots`.

    Returns:
        ``(K, N)`` int64, indices of prefix tokens: 0 if all classes share one class
        token; the class id if the model has one token per class.
    """
    if model.backbone.num_class_tokens > 1:
        return slots.argmax(-1)
    return torch.zeros(slots.shape[:2], dtype=torch.long, device=slots.device)


def rows_of(matrix: Tensor, rows: Tensor) -> Tensor:
    """Selects one row of an attention matrix for each backward pass and image.

    Args:
        matrix: Attention ``(N, heads, T, T)``, or K gradients by it
            ``(K, N, heads, T, T)``.
        rows: ``(K, N)``, indices of rows from :func:`class_rows`.

    Returns:
        ``(K, N, heads, T)``.
    """
    every = torch.arange(rows.shape[1], device=rows.device)
    if matrix.ndim == 4:
        return matrix[every, :, rows]
    return matrix[torch.arange(len(rows), device=rows.device)[:, None], every, :, rows]


def patch_grid(values: Tensor, trace: Trace) -> Tensor:
    """Reshapes values ``(..., n)`` of the n = h * w patches to ``(..., h, w)``."""
    return values.reshape(*values.shape[:-1], *trace.grid)
