"""DeiT-S on MS COCO 2014, which table 4 of eX-ViT explains by methods of other papers."""

from mmengine.config import read_base

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import TokenHead, WSSSClassifier

with read_base():
    from .coco import *

model = dict(
    type=WSSSClassifier,
    backbone=dict(type=TimmViT, name='deit_small_patch16_224', pretrained=True),
    head=dict(type=TokenHead, num_classes=num_classes),
)
custom_hooks = []
train_dataloader.dataset.pipeline = [views[0], *views[1].pipeline]
