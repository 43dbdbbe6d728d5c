"""DeepLabV2 with ResNet-101 trained at three scales with max fusion, on VOC 2012.

About twice the work and the memory of voc_r101.py. The port adds up two steps of five images:
train_dataloader.batch_size=5 optim_wrapper.accumulative_counts=2 where memory is short.
"""

from mmengine.config import read_base
from wsss_plugins import segmentors

with read_base():
    from .voc_r101 import *
model.type = segmentors.MultiScaleSegmentor
prediction.update(scales=(1.0,), flip=False)  # the network fuses its scales itself
