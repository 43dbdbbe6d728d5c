"""Backbones: from images to tokens, and the capture of attention and gradients."""

from wsss_plugins.backbones.base import TokenBackbone, Tokens
from wsss_plugins.backbones.capture import (
    DIRECTIONS,
    Trace,
    capture,
    capture_relevance,
    check_direction,
)
from wsss_plugins.backbones.cnn import CNNBackbone, TimmCNN
from wsss_plugins.backbones.conformer import ConformerBackbone
from wsss_plugins.backbones.emha import EMHA
from wsss_plugins.backbones.ex_vit import ExViT
from wsss_plugins.backbones.hybrid_vit import HybridViT
from wsss_plugins.backbones.multi_class_token import MultiClassTokenViT
from wsss_plugins.backbones.patch_maps import PatchMaps
from wsss_plugins.backbones.raw_attention import heads_of, raw_attention
from wsss_plugins.backbones.stem import ConvStem
from wsss_plugins.backbones.timm_maps import TimmMaps, maps_of, reading_features
from wsss_plugins.backbones.timm_vit import TimmViT
from wsss_plugins.backbones.transformer_stem import TransformerStem
from wsss_plugins.backbones.vgg16 import VGG16LargeFOV
from wsss_plugins.backbones.weights import (
    load_weights,
    read_checkpoint,
    read_weights,
    weights_file,
)
from wsss_plugins.backbones.wide_resnet38 import WideResNet38

__all__ = [
    'DIRECTIONS',
    'EMHA',
    'CNNBackbone',
    'ConformerBackbone',
    'ConvStem',
    'ExViT',
    'HybridViT',
    'MultiClassTokenViT',
    'PatchMaps',
    'TimmCNN',
    'TimmMaps',
    'TimmViT',
    'TokenBackbone',
    'Tokens',
    'Trace',
    'TransformerStem',
    'VGG16LargeFOV',
    'WideResNet38',
    'capture',
    'capture_relevance',
    'check_direction',
    'heads_of',
    'load_weights',
    'maps_of',
    'raw_attention',
    'read_checkpoint',
    'read_weights',
    'reading_features',
    'weights_file',
]
