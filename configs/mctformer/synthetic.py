"""MCTformer V2 on the synthetic data set, from scratch, of the size of acr/synthetic.py."""

from mmengine.config import read_base
from wsss_plugins import backbones, classifiers

with read_base():
    from .._base_.synthetic_classifier import *
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=dict(
        model.backbone, type=backbones.MultiClassTokenViT, num_classes=num_classes
    ),
    head=dict(type=classifiers.MCTHead, num_classes=num_classes),
)
custom_hooks = []
