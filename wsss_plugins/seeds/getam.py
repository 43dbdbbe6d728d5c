"""GETAM."""

from __future__ import annotations

from typing import Any

from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.acr import ACRGradientMap


@SEED_HEADS.register_module()
class GETAM(ACRGradientMap):
    """Attention times gradient times gradient, summed over the last blocks.

    Per block ``mean((G A)+) * mean(G+)`` with means over heads: the variant
    'cam_grad_s' of ACR's released function of that name, on its default blocks.

    Source: Sun et al., GETAM: Gradient-weighted Element-wise Transformer Attention Map
    for Weakly-supervised Semantic Segmentation, 2021, sec. 3.2.

    Args:
        start_block: First block that is read; negative counts from the end.
        kwargs: See :class:`PerClassHead`.
    """

    def __init__(self, start_block: int = -3, **kwargs: Any) -> None:
        super().__init__(start_block, 'cam_grad_s', affinity=False, **kwargs)
