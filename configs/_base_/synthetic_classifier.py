"""A small transformer that classifies the synthetic images, trained from scratch.

The configs of methods update its `model`; each runs for a minute or two on two cores.
"""

from mmengine.config import read_base
from wsss_plugins import backbones, classifiers

with read_base():
    from .adamw_cosine import *
    from .synthetic_data import *
_backbone = dict(type=backbones.TimmViT, stem='conv', img_size=64, patch_size=8)
_backbone.update(embed_dim=128, depth=4, num_heads=4, mlp_ratio=3)
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=_backbone,
    head=dict(type=classifiers.TokenHead, num_classes=num_classes, pool_fraction=0.2),
    drop_patches=0.5,
)
