"""Class activation maps from patch tokens."""

from __future__ import annotations

from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import SeedHead

FLOORS = ('zero', 'minimum')


@SEED_HEADS.register_module()
class CAM(SeedHead):
    """Each patch's class logit, above a floor.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, 2016,
    eq. 2, on patch tokens or the last feature map of a CNN.

    Args:
        floor: Lower bound that is subtracted: ``'zero'``, so that the map is the
            positive part of the logit, as usual; or the ``'minimum'`` of the image.
            With ``'zero'`` the map is empty if all logits of a class are negative.

    Raises:
        ConfigError: ``floor`` is unknown.
    """

    needs_attention = False
    needs_class_token = False

    def __init__(self, floor: str = 'zero') -> None:
        super().__init__()
        if floor not in FLOORS:
            raise ConfigError(
                f'floor must be one of {FLOORS}, not {floor!r}', token='floor'
            )
        self.floor = floor

    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """Patch logits of every class, ``(N, C, h, w)``."""
        logits = self.logits(model, trace)
        if self.floor == 'minimum':
            logits = logits - logits.amin((2, 3), keepdim=True)
        return logits

    def logits(self, model: WSSSClassifier, trace: Trace) -> Tensor:
        """The patch logits before the floor, ``(N, C, h, w)``."""
        return model.cam_logits(trace.tokens)
