"""Classifiers: networks that learn from image-level labels."""

from wsss_plugins.classifiers.acr import ACRClassifier
from wsss_plugins.classifiers.afa import AFAClassifier
from wsss_plugins.classifiers.atte import (
    AttributeExplainer,
    AttributeHead,
    Attributes,
)
from wsss_plugins.classifiers.attention_watch import (
    AttentionEntropyHook,
    attention_entropy,
    measure_entropy,
)
from wsss_plugins.classifiers.classifier import WSSSClassifier
from wsss_plugins.classifiers.ex_vit import ExViTClassifier, ViewsPreprocessor
from wsss_plugins.classifiers.head import TokenHead, pool_top
from wsss_plugins.classifiers.masked_denoiser import MaskedDenoiser
from wsss_plugins.classifiers.max_token_head import MaxTokenHead
from wsss_plugins.classifiers.momentum import MomentumBranch, MomentumHook
from wsss_plugins.classifiers.multi_class_head import ConvHead, MCTHead, pool_rank
from wsss_plugins.classifiers.projection_head import ProjectionHead
from wsss_plugins.classifiers.single_stage import SingleStageClassifier
from wsss_plugins.classifiers.timm_classifier import TimmClassifier, TimmHead
from wsss_plugins.classifiers.toco import ToCoClassifier

__all__ = [
    'ACRClassifier',
    'AFAClassifier',
    'AttentionEntropyHook',
    'AttributeExplainer',
    'AttributeHead',
    'Attributes',
    'ConvHead',
    'ExViTClassifier',
    'MCTHead',
    'MaskedDenoiser',
    'MaxTokenHead',
    'MomentumBranch',
    'MomentumHook',
    'ProjectionHead',
    'SingleStageClassifier',
    'TimmClassifier',
    'TimmHead',
    'ToCoClassifier',
    'TokenHead',
    'ViewsPreprocessor',
    'WSSSClassifier',
    'attention_entropy',
    'measure_entropy',
    'pool_rank',
    'pool_top',
]
