"""Backbones: from images to tokens, and the capture of what happens inside."""

from wsss_plugins.backbones.base import TokenBackbone, Tokens
from wsss_plugins.backbones.capture import Trace, capture
from wsss_plugins.backbones.stem import ConvStem
from wsss_plugins.backbones.timm_vit import TimmViT
from wsss_plugins.backbones.weights import load_weights, read_checkpoint, read_weights

__all__ = [
    'ConvStem',
    'TimmViT',
    'TokenBackbone',
    'Tokens',
    'Trace',
    'capture',
    'load_weights',
    'read_checkpoint',
    'read_weights',
]
