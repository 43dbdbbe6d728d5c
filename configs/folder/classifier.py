"""Classifier of one's own photos: a transformer pretrained on ImageNet, tags of a table.

For 50 photos and more, of any size; how many classes there are is counted in the table.
"""

from mmcv.transforms import RandomFlip
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.optim import CosineAnnealingLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from torch.optim import AdamW

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import TokenHead, WSSSClassifier
from wsss_plugins.datasets import LoadCrop, PackClassInputs
from wsss_plugins.metrics import MultiLabelAP

with read_base():
    from .._base_.folder_data import images, long_side, val_images

model = dict(
    type=WSSSClassifier,
    backbone=dict(
        type=TimmViT,
        name='deit_small_patch16_224',
        pretrained=True,  # timm fetches it; a file of it, or False to begin from scratch
    ),
    head=dict(type=TokenHead, num_classes=None, pool_fraction=0.2),  # as many as tags
)

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        images,
        pipeline=[
            dict(type=LoadCrop, size=224, low=224, high=long_side),
            dict(type=RandomFlip, prob=0.5),
            dict(type=PackClassInputs),
        ],
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        val_images,
        test_mode=True,
        pipeline=[
            dict(type=LoadCrop, size=320, low=320, high=320),
            dict(type=PackClassInputs),
        ],
    ),
)
val_evaluator = dict(type=MultiLabelAP)

max_epochs = 40
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=1000)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=5e-5, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10)}),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(
        type=CosineAnnealingLR,
        T_max=max_epochs,
        eta_min=1e-6,
        convert_to_iter_based=True,
    )
]
