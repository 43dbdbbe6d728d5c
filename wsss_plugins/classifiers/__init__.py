"""Classifiers: what image-level labels can teach."""

from wsss_plugins.classifiers.acr import ACRClassifier
from wsss_plugins.classifiers.classifier import WSSSClassifier
from wsss_plugins.classifiers.head import TokenHead, pool_top
from wsss_plugins.classifiers.timm_classifier import TimmClassifier, TimmHead

__all__ = [
    'ACRClassifier',
    'TimmClassifier',
    'TimmHead',
    'TokenHead',
    'WSSSClassifier',
    'pool_top',
]
