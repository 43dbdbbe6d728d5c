"""Seed heads: from a trained classifier to class localisation maps."""

from wsss_plugins.seeds.acr import ACRGradientMap
from wsss_plugins.seeds.att_e import AttributeCAM
from wsss_plugins.seeds.base import PerClassHead, SeedHead, class_slots, patch_grid
from wsss_plugins.seeds.cam import CAM
from wsss_plugins.seeds.generic import GenericAttentionRelevance
from wsss_plugins.seeds.getam import GETAM
from wsss_plugins.seeds.grad_cam import AttentionGradCAM
from wsss_plugins.seeds.input_gradient import InputXGradient, IntegratedGradients
from wsss_plugins.seeds.legrad import LeGrad
from wsss_plugins.seeds.lrp import CPLRP, AttnLRP, FullLRP, PartialLRP
from wsss_plugins.seeds.multiscale import MultiScaleFlip
from wsss_plugins.seeds.raw_attention import RawAttention
from wsss_plugins.seeds.relevance import RelevanceHead
from wsss_plugins.seeds.rollout import AttentionRollout
from wsss_plugins.seeds.transformer_attribution import (
    LRPRollout,
    TransformerAttribution,
)

__all__ = [
    'CAM',
    'CPLRP',
    'GETAM',
    'ACRGradientMap',
    'AttentionGradCAM',
    'AttentionRollout',
    'AttnLRP',
    'AttributeCAM',
    'FullLRP',
    'GenericAttentionRelevance',
    'InputXGradient',
    'IntegratedGradients',
    'LRPRollout',
    'LeGrad',
    'MultiScaleFlip',
    'PartialLRP',
    'PerClassHead',
    'RawAttention',
    'RelevanceHead',
    'SeedHead',
    'TransformerAttribution',
    'class_slots',
    'patch_grid',
]
