"""Class activation maps from patch tokens."""

from __future__ import annotations

from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import SeedHead


@SEED_HEADS.register_module()
class CAM(SeedHead):
    """The positive part of each patch's class logit.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, 2016,
    eq. 2, on patch tokens.
    """

    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """Patch logits of every class, ``(N, C, h, w)``."""
        return model.cam_logits(trace.tokens)
