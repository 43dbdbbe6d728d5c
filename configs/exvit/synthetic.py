"""eX-ViT on the synthetic data set, from scratch."""

from mmcv.transforms import RandomFlip
from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from torch.optim import AdamW

from wsss_plugins.backbones import ExViT
from wsss_plugins.classifiers import AttributeHead, ExViTClassifier, MomentumHook
from wsss_plugins.datasets import (
    LoadImage,
    PackClassInputs,
    RandomCropPad,
    ResizeLongSide,
    TwoViews,
)
from wsss_plugins.losses import AttributeLoss

with read_base():
    from .._base_.synthetic_data import *

model = dict(
    type=ExViTClassifier,
    backbone=dict(
        type=ExViT,
        stem='conv_group',  # no batch norm: workers train as one
        img_size=64,
        patch_size=8,
        embed_dim=128,
        depth=4,
        num_heads=4,
        mlp_ratio=3,
        fuse_blocks=3,
        scale='tokens',  # from scratch it learns much faster; see docs/methods.md
    ),
    head=dict(
        type=AttributeHead,
        num_classes=num_classes,
        channels=64,
        attributes=4,
        pool_fraction=0.2,
    ),
    # From scratch, the paper's weight of 1 for L_div keeps the classes from being learnt
    # for epochs; see docs/methods.md.
    attribute_loss=dict(type=AttributeLoss, discriminability=0.5, diversity=0.1),
)
custom_hooks = [dict(type=MomentumHook, momentum=0.999)]
train_dataloader.dataset.pipeline = [
    dict(type=LoadImage),
    dict(
        type=TwoViews,
        pipeline=[
            dict(type=ResizeLongSide, low=48, high=96),
            dict(type=RandomFlip, prob=0.5),
            dict(type=RandomCropPad, size=48),
            dict(type=PackClassInputs),
        ],
    ),
]

max_epochs = 12
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=100)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, end=1, convert_to_iter_based=True),
    dict(
        type=CosineAnnealingLR,
        begin=1,
        T_max=max_epochs - 1,
        eta_min=1e-6,
        convert_to_iter_based=True,
    ),
]
