"""Segmentation heads for mmsegmentation's ``EncoderDecoder``."""

from wsss_plugins.segmentors.deeplabv2 import DeepLabV2Head

__all__ = ['DeepLabV2Head']
