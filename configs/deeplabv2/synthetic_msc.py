"""DeepLabV2 with a small ResNet-18 at three scales with max fusion on the synthetic set."""

from mmengine.config import read_base
from wsss_plugins import segmentors

with read_base():
    from .synthetic import *
model.type = segmentors.MultiScaleSegmentor
prediction = dict(scales=(1.0,), flip=False)  # the network fuses its scales itself
