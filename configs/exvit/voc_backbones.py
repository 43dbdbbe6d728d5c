"""A classifier with a plain CAM on Pascal VOC 2012, to compare encoders (table 5)."""

from mmengine.config import read_base

from wsss_plugins.backbones import ExViT
from wsss_plugins.classifiers import TokenHead, WSSSClassifier

with read_base():
    from .voc import *

model = dict(
    type=WSSSClassifier,
    backbone=dict(
        type=ExViT,
        name='deit_small_patch16_224',
        pretrained=True,
        fuse_blocks=3,
        patch='fused',
        scale='tokens',
    ),
    head=dict(type=TokenHead, num_classes=num_classes, sources=('patch',)),
)
custom_hooks = []
train_dataloader.dataset.pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeLongSide, low=250, high=1000),
    dict(type=RandomFlip, prob=0.5),
    dict(type=RandomCropPad, size=384),
    dict(type=PackClassInputs),
]
