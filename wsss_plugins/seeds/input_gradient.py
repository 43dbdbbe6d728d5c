"""Attribution to the pixels by gradients."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import PerClassHead


@SEED_HEADS.register_module()
class InputXGradient(PerClassHead):
    """The input times the gradient of a class's logit, summed over the channels; signed.

    Source: Shrikumar et al., Not Just a Black Box, 2016, sec. 2.

    Args:
        kwargs: See :class:`PerClassHead`.
    """

    needs_attention = False
    needs_class_token = False

    def look(
        self, model: WSSSClassifier, images: Tensor
    ) -> AbstractContextManager[Trace]:
        """A forward pass with a graph from the pixels on."""
        images = images.detach().requires_grad_()
        return capture(model.backbone, images, gradients=True, attention=False)

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The attribution of every pixel, ``(K, N, H, W)``."""
        pixels = trace.images.detach()
        maps = [(pixels * g).sum(1) for g in _pixel_gradients(model, trace, slots)]
        return torch.stack(maps)


@SEED_HEADS.register_module()
class IntegratedGradients(InputXGradient):
    """The input times its gradient, averaged on the way from a black image; signed.

    The integral runs along the straight line from ``baseline`` to the image and is
    approximated by the midpoints of equal steps. With many steps the map sums to the
    difference of the logits at both ends.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, 2017, eq. 3.

    Args:
        steps: Number of points on the line.
        baseline: Value of the normalised pixels at the start of the line.
        kwargs: See :class:`PerClassHead`.

    Raises:
        ConfigError: ``steps`` is less than 1.
    """

    def __init__(self, steps: int = 20, baseline: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if steps < 1:
            raise ConfigError(f'steps must be 1 or more, not {steps}', token='steps')
        self.steps = steps
        self.baseline = baseline

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The attribution of every pixel, ``(K, N, H, W)``."""
        way = trace.images.detach() - self.baseline
        total = torch.zeros_like(way).repeat(len(slots), 1, 1, 1, 1)
        for step in range(self.steps):
            point = self.baseline + way * ((step + 0.5) / self.steps)
            with super().look(model, point) as part:
                for slot, gradient in enumerate(_pixel_gradients(model, part, slots)):
                    total[slot] += gradient
        return (total * way).sum(2) / self.steps


def _pixel_gradients(
    model: WSSSClassifier, trace: Trace, slots: Tensor
) -> list[Tensor]:
    """The gradients ``(N, 3, H, W)`` of the logits by the image, class by class."""
    scores = model.class_logits(trace.tokens)
    return [g for (g,) in trace.backward(scores, slots, [trace.images])]
