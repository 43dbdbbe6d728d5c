"""A classifier with a plain CAM, to compare encoders on the synthetic set (table 5)."""

from mmengine.config import read_base

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import TokenHead, WSSSClassifier

with read_base():
    from .synthetic import *

# The softmax ViT of the size of eX-ViT's encoder.
model = dict(
    type=WSSSClassifier,
    backbone=dict(
        type=TimmViT,
        stem='conv_group',
        img_size=64,
        patch_size=8,
        embed_dim=128,
        depth=4,
        num_heads=4,
        mlp_ratio=3,
    ),
    head=dict(
        type=TokenHead,
        num_classes=num_classes,
        sources=('patch',),
        pool_fraction=0.2,
    ),
)
custom_hooks = []
train_dataloader.dataset.pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeLongSide, low=48, high=96),
    dict(type=RandomFlip, prob=0.5),
    dict(type=RandomCropPad, size=64),
    dict(type=PackClassInputs),
]
