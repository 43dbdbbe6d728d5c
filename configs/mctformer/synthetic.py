"""MCTformer V2 on the synthetic data set, from scratch, of the size of ../acr/synthetic.py."""

from mmengine.config import read_base

from wsss_plugins.backbones import MultiClassTokenViT
from wsss_plugins.classifiers import MCTHead, WSSSClassifier

with read_base():
    from ..acr.synthetic import *

model = dict(
    type=WSSSClassifier,
    backbone=dict(
        type=MultiClassTokenViT,
        num_classes=num_classes,
        stem='conv',
        img_size=64,
        patch_size=8,
        embed_dim=128,
        depth=4,
        num_heads=4,
        mlp_ratio=3,
    ),
    head=dict(type=MCTHead, num_classes=num_classes),
)
custom_hooks = []
