"""eX-ViT on the synthetic data set, from scratch."""

from mmengine.config import read_base
from wsss_plugins import backbones, classifiers, losses
from wsss_plugins.datasets import ResizeLongSide, TwoViews

with read_base():
    from .._base_.synthetic_classifier import *
model = dict(
    type=classifiers.ExViTClassifier,
    backbone=dict(
        model.backbone,
        type=backbones.ExViT,
        stem='conv_group',  # no batch norm: workers train as one
        fuse_blocks=3,
        scale='tokens',  # from scratch it learns much faster; see docs/methods.md
    ),
    head=dict(
        type=classifiers.AttributeHead,
        num_classes=num_classes,
        channels=64,
        attributes=4,
        pool_fraction=0.2,
    ),
    # From scratch, the paper's weight of 1 for L_div keeps the classes from being learnt
    # for epochs; see docs/methods.md.
    attribute_loss=dict(type=losses.AttributeLoss, discriminability=0.5, diversity=0.1),
)
custom_hooks = [dict(type=classifiers.MomentumHook, momentum=0.999)]
_resize = dict(type=ResizeLongSide, low=48, high=96)
_load, _flip, _crop, _pack = train_dataloader.dataset.pipeline
_crop.size = 48
_views = dict(type=TwoViews, pipeline=[_resize, _flip, _crop, _pack])
train_dataloader.dataset.pipeline = [_load, _views]
