"""Published settings of the dense CRF."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class CRFPreset:
    """The numbers of one published dense CRF.

    Attributes:
        gaussian: Smoothness kernel: width in pixels, weight of the Potts term.
        bilateral: Appearance kernel: width in pixels, width in grey levels, weight.
        iterations: Mean-field steps.
        source: Publication that the numbers are from.
        confidence: Probability given to the winning label when the unary term is made
            from labels; None when it is made from the scores.
    """

    gaussian: tuple[float, float]
    bilateral: tuple[float, float, float]
    iterations: int
    source: str
    confidence: float | None = None


PRESETS: Mapping[str, CRFPreset] = MappingProxyType(
    {
        'psa': CRFPreset((3, 3), (80, 13, 10), 10, 'jiwoon-ahn/psa crf_inference'),
        'acr': CRFPreset(
            (3, 3), (83, 5, 4), 10, 'OpenNLPLab/ACR_WSSS crf_inference_inf'
        ),
        'mctformer': CRFPreset(
            (4, 3), (83, 5, 3), 10, 'xulianuwa/MCTformer crf_inference_inf'
        ),
        'deeplab': CRFPreset(
            (1, 3), (67, 3, 4), 10, 'kazuto1011/deeplab-pytorch voc12.yaml'
        ),
        'irn': CRFPreset(
            (3, 3), (50, 5, 10), 10, 'jiwoon-ahn/irn crf_inference_label', 0.7
        ),
        # The paper gives no numbers: it cites SEAM and PSA, which share them.
        'ex_vit': CRFPreset(
            (3, 3), (80, 13, 10), 10, 'eX-ViT cites jiwoon-ahn/psa crf_inference'
        ),
    }
)
"""Published settings by name."""
