"""Seed heads: from a trained classifier to class localisation maps."""

from wsss_plugins.seeds.acr import ACRGradientMap
from wsss_plugins.seeds.base import SeedHead, class_slots, from_slots, patch_grid
from wsss_plugins.seeds.cam import CAM
from wsss_plugins.seeds.generic import GenericAttentionRelevance
from wsss_plugins.seeds.grad_cam import AttentionGradCAM
from wsss_plugins.seeds.multiscale import MultiScaleFlip
from wsss_plugins.seeds.rollout import AttentionRollout

__all__ = [
    'CAM',
    'ACRGradientMap',
    'AttentionGradCAM',
    'AttentionRollout',
    'GenericAttentionRelevance',
    'MultiScaleFlip',
    'SeedHead',
    'class_slots',
    'from_slots',
    'patch_grid',
]
