"""MCTformer V2 on Pascal VOC 2012: DeiT-S at 224 px with the released optimiser.

Released: AdamW, 5e-4 for a batch of 512, so 6.25e-5 for 64; weight decay 0.05, not of
biases, norms, class tokens and positions; 5 epochs of warming up, then cosine to 1e-5, 60
in all; stochastic depth 0.1. Not released, but near: the augmentation. Theirs is timm's
(random resized crop, RandAugment, random erasing); here a random scale, crop and colours.
"""

from mmcv.transforms import RandomFlip
from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from torch.optim import AdamW

from wsss_plugins.backbones import MultiClassTokenViT
from wsss_plugins.classifiers import MCTHead, WSSSClassifier
from wsss_plugins.datasets import (
    ColorJitter,
    LoadImage,
    PackClassInputs,
    RandomCropPad,
    ResizeLongSide,
)

with read_base():
    from .._base_.voc_data import *

model = dict(
    type=WSSSClassifier,
    backbone=dict(
        type=MultiClassTokenViT,
        name='deit_small_patch16_224',
        num_classes=num_classes,
        pretrained=True,  # of timm; or the path of a local file
        drop_path_rate=0.1,
    ),
    head=dict(type=MCTHead, num_classes=num_classes),
)
train_dataloader.update(batch_size=64)
train_dataloader.dataset.pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeLongSide, low=224, high=512),
    dict(type=RandomFlip, prob=0.5),
    dict(type=ColorJitter, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0),
    dict(type=RandomCropPad, size=224),
    dict(type=PackClassInputs),
]
val_dataloader.dataset.pipeline[1].update(low=224, high=224)
val_dataloader.dataset.pipeline[2].size = 224

max_epochs, warm_up = 60, 5
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=1000)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=6.25e-5, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0,
        bias_decay_mult=0,
        custom_keys=dict(
            cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)
        ),
    ),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.016, end=warm_up, convert_to_iter_based=True),
    dict(
        type=CosineAnnealingLR,
        begin=warm_up,
        T_max=max_epochs - warm_up,
        eta_min=1e-5,
        convert_to_iter_based=True,
    ),
]
