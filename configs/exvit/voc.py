"""eX-ViT on Pascal VOC 2012: DeiT-S with E-MHA, AttE and a momentum branch.

Weights of DeiT-S are fetched by timm; without a network give the file:
--cfg-options model.backbone.pretrained=FILE. What the paper leaves open is argued in
docs/methods.md.
"""

from mmcv.transforms import RandomFlip
from mmengine.config import read_base
from mmengine.optim import OptimWrapper, PolyLR
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
    from .._base_.voc_data import *

model = dict(
    type=ExViTClassifier,
    backbone=dict(
        type=ExViT,
        name='deit_small_patch16_224',  # 12 blocks, 6 heads, 384 channels
        pretrained=True,
        fuse_blocks=3,
        scale='tokens',  # what DeiT's weights are used to: means, not sums over tokens
    ),
    head=dict(type=AttributeHead, num_classes=num_classes, channels=256, attributes=8),
    attribute_loss=dict(type=AttributeLoss, discriminability=0.5, diversity=1.0),
)
custom_hooks = [dict(type=MomentumHook, momentum=0.999)]

train_dataloader.batch_size = 16
train_dataloader.dataset.pipeline = [
    dict(type=LoadImage),
    dict(
        type=TwoViews,
        pipeline=[
            dict(type=ResizeLongSide, low=250, high=1000),  # 0.5 to 2.0 of 500 px
            dict(type=RandomFlip, prob=0.5),
            dict(type=RandomCropPad, size=384),
            dict(type=PackClassInputs),
        ],
    ),
]

max_epochs = 61  # 40,000 steps of 16 images over 10,582
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=1000)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=5e-4),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),  # 5e-5
)
param_scheduler = [
    dict(
        type=PolyLR,
        power=0.9,
        eta_min=0.0,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
