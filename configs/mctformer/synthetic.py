"""MCTformer V2 on the synthetic data set, from scratch, of the size of acr/synthetic.py."""

from mmengine.config import read_base

from wsss_plugins.backbones import MultiClassTokenViT
from wsss_plugins.classifiers import MCTHead, WSSSClassifier

with read_base():
    from .._base_.synthetic_classifier import *

model = dict(
    type=WSSSClassifier,
    backbone=dict(model.backbone, type=MultiClassTokenViT, num_classes=num_classes),
    head=dict(type=MCTHead, num_classes=num_classes),
)
custom_hooks = []
