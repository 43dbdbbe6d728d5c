"""Heads and parts of segmentors for mmseg's ``EncoderDecoder``, and how they are trained."""

from wsss_plugins.segmentors.deeplabv2 import DeepLabV2Head
from wsss_plugins.segmentors.global_context import GlobalContextHead
from wsss_plugins.segmentors.large_fov import LargeFOVHead
from wsss_plugins.segmentors.multi_scale import MultiScaleSegmentor
from wsss_plugins.segmentors.poly import WarmUpPolyLR
from wsss_plugins.segmentors.rates import DeepLabRates, IRNRates
from wsss_plugins.segmentors.resnet import DeepLabResNet

__all__ = [
    'DeepLabRates',
    'DeepLabResNet',
    'DeepLabV2Head',
    'GlobalContextHead',
    'IRNRates',
    'LargeFOVHead',
    'MultiScaleSegmentor',
    'WarmUpPolyLR',
]
