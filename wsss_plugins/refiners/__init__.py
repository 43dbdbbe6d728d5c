"""Refiners: improve the seed of an image."""

from wsss_plugins.refiners.background import (
    BackgroundPolicy,
    ConstantBackground,
    OtsuBackground,
    PowerBackground,
    QuantileBackground,
)
from wsss_plugins.refiners.base import Refiner, RefinerChain, check_batch
from wsss_plugins.refiners.crf_presets import PRESETS, CRFPreset
from wsss_plugins.refiners.dense_crf import DenseCRF
from wsss_plugins.refiners.pamr import PAMR, PAR
from wsss_plugins.refiners.patch_affinity import (
    PatchAffinity,
    patch_transition,
    spread,
)
from wsss_plugins.refiners.permutohedral import PermutohedralLattice
from wsss_plugins.refiners.pieces import InPieces
from wsss_plugins.refiners.power import LargestScore, PowerScores
from wsss_plugins.refiners.random_walk import RandomWalk
from wsss_plugins.refiners.segment_vote import (
    SuperpixelVote,
    check_rule,
    segment_vote,
    superpixels,
)
from wsss_plugins.refiners.threshold import (
    CRITERIA,
    label_free_threshold,
    score_histogram,
)

__all__ = [
    'CRITERIA',
    'PAMR',
    'PAR',
    'PRESETS',
    'BackgroundPolicy',
    'CRFPreset',
    'ConstantBackground',
    'DenseCRF',
    'InPieces',
    'LargestScore',
    'OtsuBackground',
    'PatchAffinity',
    'PermutohedralLattice',
    'PowerBackground',
    'PowerScores',
    'QuantileBackground',
    'RandomWalk',
    'Refiner',
    'RefinerChain',
    'SuperpixelVote',
    'check_batch',
    'check_rule',
    'label_free_threshold',
    'patch_transition',
    'score_histogram',
    'segment_vote',
    'spread',
    'superpixels',
]
