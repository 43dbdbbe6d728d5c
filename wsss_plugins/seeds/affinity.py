"""The maps of any seed head, propagated along the model's patch-to-patch attention."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace, capture, check_direction
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import SEED_HEADS, build_as
from wsss_plugins.seeds.base import SeedHead


@SEED_HEADS.register_module()
class AffinityRefined(SeedHead):
    """The positive maps of another head, multiplied by the patch affinity.

    The affinity is the patch-to-patch attention, mean over heads and summed over blocks.
    It is applied to the patches of each scale and each mirrored copy, as ACR and
    MCTformer do; the refiner ``PatchAffinity`` does the same to finished seeds, once and
    on the image's own pixels. The cost is one matrix product, and a second forward pass
    if the forward pass of the head does not capture all attention (relevance
    propagation, GradCAM).

    Source: Sun et al., All-pairs Consistency Learning for WSSS, 2023, eq. 8.

    Args:
        head: The head or its config; :class:`GenericAttentionRelevance` by default, the
            row 'Generic' with affinity of the paper's table 5.
        power: Number of multiplications, >= 1.
        direction: A key of :data:`~wsss_plugins.backbones.DIRECTIONS`: whether a patch
            receives the scores of the patches that it attends to, as in the paper, or
            passes its score to them.

    Raises:
        ConfigError: ``power`` is less than 1, or ``direction`` is unknown.
    """

    needs_class_token = False  # the head that makes the maps says what it needs

    def __init__(
        self,
        head: dict[str, Any] | SeedHead | None = None,
        power: int = 1,
        direction: str = 'take',
    ) -> None:
        super().__init__()
        if power < 1:
            raise ConfigError(f'power must be 1 or more, not {power}', token='power')
        check_direction(direction)
        head = head or dict(type='GenericAttentionRelevance')
        self.head = build_as(SEED_HEADS, head, SeedHead)
        self.power = power
        self.direction = direction

    def check_model(self, model: WSSSClassifier) -> None:
        """Refuses a model without attention, or one that the head refuses.

        Raises:
            UserError: The backbone has no attention, or the inner head refuses the
                model.
        """
        super().check_model(model)
        self.head.check_model(model)

    def look(
        self, model: WSSSClassifier, images: Tensor
    ) -> AbstractContextManager[Trace]:
        """The forward pass of the inner head, with all attention if possible."""
        if type(self.head).look is not SeedHead.look:
            return self.head.look(model, images)
        return capture(model.backbone, images, gradients=self.head.needs_grad)

    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """The propagated maps, ``(N, C, h, w)``.

        Raises:
            DataError: The head's maps are not on the patch grid.
        """
        maps = self.head.checked_maps(model, trace, labels).clamp(min=0)
        if tuple(maps.shape[2:]) != tuple(trace.grid):
            rows, columns = maps.shape[2:]
            raise DataError(
                f'{type(self.head).__name__} gives maps of {rows}x{columns}, and the '
                f'affinity is of {trace.grid[0]}x{trace.grid[1]} patches: take the '
                'refiner PatchAffinity for it'
            )
        affinity = self._affinity(model, trace)
        for _ in range(self.power):
            maps = spread_along(maps, affinity)
        return maps

    def _affinity(self, model: WSSSClassifier, trace: Trace) -> Tensor:
        if len(trace.attn) == len(model.backbone.attention_modules()):
            return trace.patch_affinity(direction=self.direction)
        with capture(model.backbone, trace.images.detach(), gradients=False) as plain:
            return plain.patch_affinity(direction=self.direction)


def spread_along(maps: Tensor, affinity: Tensor) -> Tensor:
    """Maps ``(N, C, h, w)`` times an affinity ``(N, n, n)``, row = receiving patch."""
    flat = torch.einsum('nij,ncj->nci', affinity.to(maps), maps.flatten(2))
    return flat.unflatten(2, maps.shape[2:])
