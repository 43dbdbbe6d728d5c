"""A classifier with a plain CAM on Pascal VOC 2012: encoders of table 5 of eX-ViT."""

from mmengine.config import read_base
from wsss_plugins import classifiers

with read_base():
    from .voc import *
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=dict(model.backbone, patch='fused'),
    head=dict(type=classifiers.TokenHead, num_classes=num_classes, sources=('patch',)),
)
custom_hooks = []
_load, _two_views = train_dataloader.dataset.pipeline
train_dataloader.dataset.pipeline = [_load, *_two_views.pipeline]
