"""DeiT-S on MS COCO 2014, which table 4 of eX-ViT explains by methods of other papers."""

from mmengine.config import read_base
from wsss_plugins import backbones, classifiers

with read_base():
    from .coco import *
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=dict(
        type=backbones.TimmViT, name='deit_small_patch16_224', pretrained=True
    ),
    head=dict(type=classifiers.TokenHead, num_classes=num_classes),
)
custom_hooks = []
train_dataloader.dataset.pipeline = [views[0], *views[1].pipeline]
