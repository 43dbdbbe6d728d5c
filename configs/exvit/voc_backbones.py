"""A classifier with a plain CAM on Pascal VOC 2012: encoders of table 5 of eX-ViT."""

from mmengine.config import read_base
from wsss_plugins import classifiers

with read_base():
    from .voc import *
_cam = dict(sources=('patch',), pool_fraction=1.0)  # the map of Zhou et al.
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=dict(model.backbone, patch='fused'),
    head=dict(_cam, type=classifiers.TokenHead, num_classes=num_classes),
)
custom_hooks = []
_load, _two_views = train_dataloader.dataset.pipeline
train_dataloader.dataset.pipeline = [_load, *_two_views.pipeline]
