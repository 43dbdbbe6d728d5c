"""A transformer of four blocks on the maps of a frozen EfficientNet-lite0."""

from mmengine.config import read_base
from wsss_plugins import backbones, classifiers

with read_base():
    from .._base_.adamw_cosine import *
    from .._base_.frozen_data import *
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=dict(type=backbones.HybridViT, net=network, in_index=(1, 2)),
    head=dict(type=classifiers.TokenHead, num_classes=num_classes, pool_fraction=0.3),
    drop_patches=0.5,
    **raw,
)
optim_wrapper.optimizer.lr = 5e-4
