"""Seed heads: class localisation maps from a trained classifier."""

from wsss_plugins.seeds.acr import ACRGradientMap
from wsss_plugins.seeds.affinity import AffinityRefined, spread_along
from wsss_plugins.seeds.att_e import AttributeCAM
from wsss_plugins.seeds.base import (
    PerClassHead,
    SeedHead,
    class_rows,
    class_slots,
    patch_grid,
    rows_of,
)
from wsss_plugins.seeds.cam import CAM
from wsss_plugins.seeds.generic import GenericAttentionRelevance
from wsss_plugins.seeds.getam import GETAM
from wsss_plugins.seeds.grad_cam import AttentionGradCAM, GradCAM
from wsss_plugins.seeds.input_gradient import InputXGradient, IntegratedGradients
from wsss_plugins.seeds.legrad import LeGrad
from wsss_plugins.seeds.lrp import CPLRP, AttnLRP, FullLRP, PartialLRP
from wsss_plugins.seeds.mctformer import MCTformerMap
from wsss_plugins.seeds.multiscale import MultiScaleFlip
from wsss_plugins.seeds.raw_attention import RawAttention
from wsss_plugins.seeds.relevance import RelevanceHead
from wsss_plugins.seeds.rollout import AttentionRollout
from wsss_plugins.seeds.transformer_attribution import (
    LRPRollout,
    TransformerAttribution,
)
from wsss_plugins.seeds.ts_cam import TSCAM

__all__ = [
    'CAM',
    'CPLRP',
    'GETAM',
    'TSCAM',
    'ACRGradientMap',
    'AffinityRefined',
    'AttentionGradCAM',
    'AttentionRollout',
    'AttnLRP',
    'AttributeCAM',
    'FullLRP',
    'GenericAttentionRelevance',
    'GradCAM',
    'InputXGradient',
    'IntegratedGradients',
    'LRPRollout',
    'LeGrad',
    'MCTformerMap',
    'MultiScaleFlip',
    'PartialLRP',
    'PerClassHead',
    'RawAttention',
    'RelevanceHead',
    'SeedHead',
    'TransformerAttribution',
    'class_rows',
    'class_slots',
    'patch_grid',
    'rows_of',
    'spread_along',
]
