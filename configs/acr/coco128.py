"""ACR classifier on 128 real photos, from scratch: a trial of the road, not a result."""

from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from torch.optim import AdamW

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import ACRClassifier, TokenHead
from wsss_plugins.losses import AttentionConsistencyLoss

with read_base():
    from .._base_.coco128_data import *

model = dict(
    type=ACRClassifier,
    backbone=dict(
        type=TimmViT,
        stem='conv',
        img_size=128,
        patch_size=16,
        embed_dim=192,
        depth=4,
        num_heads=3,
        mlp_ratio=3,
    ),
    head=dict(type=TokenHead, num_classes=num_classes, pool_fraction=0.2),
    consistency=dict(
        type=AttentionConsistencyLoss, activation_weight=0.1, affinity_weight=0.1
    ),
)

max_epochs = 150
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=1000)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, end=5, convert_to_iter_based=True),
    dict(
        type=CosineAnnealingLR,
        begin=5,
        T_max=max_epochs - 5,
        eta_min=1e-6,
        convert_to_iter_based=True,
    ),
]
