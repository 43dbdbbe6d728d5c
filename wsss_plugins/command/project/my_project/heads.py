"""Seed heads of my_project."""

from __future__ import annotations

from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds import SeedHead


@SEED_HEADS.register_module()
class SharpenedCAM(SeedHead):
    """CAM to a power, which narrows the maps to their peaks.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, 2016,
    eq. 2; the power is an example.

    Args:
        power: 1 gives CAM; more is narrower.
    """

    needs_attention = False
    needs_class_token = False

    def __init__(self, power: float = 2.0) -> None:
        super().__init__()
        self.power = power

    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """The maps of every class, ``(N, C, h, w)``."""
        return model.cam_logits(trace.tokens).clamp(min=0) ** self.power
