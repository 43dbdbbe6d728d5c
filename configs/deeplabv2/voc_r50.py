"""DeepLabV2 with ResNet-50 on pseudo labels of Pascal VOC 2012, from ImageNet's weights."""

from mmengine.config import read_base

with read_base():
    from .voc_r101 import *
model.backbone.update(depth=50, pretrained='data/pretrained/resnet50.pth')
