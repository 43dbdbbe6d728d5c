"""Refiners: from one seed to a better one."""

from wsss_plugins.refiners.background import (
    BackgroundPolicy,
    ConstantBackground,
    PowerBackground,
)
from wsss_plugins.refiners.base import Refiner, RefinerChain
from wsss_plugins.refiners.dense_crf import PRESETS, CRFPreset, DenseCRF
from wsss_plugins.refiners.permutohedral import PermutohedralLattice

__all__ = [
    'PRESETS',
    'BackgroundPolicy',
    'CRFPreset',
    'ConstantBackground',
    'DenseCRF',
    'PermutohedralLattice',
    'PowerBackground',
    'Refiner',
    'RefinerChain',
]
