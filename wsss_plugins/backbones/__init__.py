"""Backbones: from images to tokens, and the capture of what happens inside."""

from wsss_plugins.backbones.base import TokenBackbone, Tokens
from wsss_plugins.backbones.capture import Trace, capture, capture_relevance
from wsss_plugins.backbones.stem import ConvStem
from wsss_plugins.backbones.timm_vit import TimmViT
from wsss_plugins.backbones.transformer_stem import TransformerStem
from wsss_plugins.backbones.weights import load_weights, read_checkpoint, read_weights
from wsss_plugins.backbones.wide_resnet38 import WideResNet38

__all__ = [
    'ConvStem',
    'TimmViT',
    'TokenBackbone',
    'Tokens',
    'Trace',
    'TransformerStem',
    'WideResNet38',
    'capture',
    'capture_relevance',
    'load_weights',
    'read_checkpoint',
    'read_weights',
]
