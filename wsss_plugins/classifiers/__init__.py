"""Classifiers: what image-level labels can teach."""

from wsss_plugins.classifiers.acr import ACRClassifier
from wsss_plugins.classifiers.atte import (
    AttributeExplainer,
    AttributeHead,
    Attributes,
)
from wsss_plugins.classifiers.classifier import WSSSClassifier
from wsss_plugins.classifiers.ex_vit import ExViTClassifier, ViewsPreprocessor
from wsss_plugins.classifiers.head import TokenHead, pool_top
from wsss_plugins.classifiers.momentum import MomentumBranch, MomentumHook
from wsss_plugins.classifiers.timm_classifier import TimmClassifier, TimmHead

__all__ = [
    'ACRClassifier',
    'AttributeExplainer',
    'AttributeHead',
    'Attributes',
    'ExViTClassifier',
    'MomentumBranch',
    'MomentumHook',
    'TimmClassifier',
    'TimmHead',
    'TokenHead',
    'ViewsPreprocessor',
    'WSSSClassifier',
    'pool_top',
]
