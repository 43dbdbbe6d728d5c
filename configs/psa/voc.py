"""Classifier of the ReScience paper on Pascal VOC 2012: ViT-hybrid-B at 448 px."""

from mmcv.transforms import RandomFlip, Resize
from mmengine.config import read_base
from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from torch.optim import SGD

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import TokenHead, WSSSClassifier
from wsss_plugins.datasets import ColorJitter, LoadImage, PackClassInputs

with read_base():
    from .._base_.voc_data import *

model = dict(
    type=WSSSClassifier,
    backbone=dict(
        type=TimmViT,
        name='vit_base_r50_s16_384',
        pretrained=True,  # of timm; or the path of a local file
    ),
    head=dict(type=TokenHead, num_classes=num_classes, sources=('class',), shared=True),
    mean=(127.5, 127.5, 127.5),
    std=(127.5, 127.5, 127.5),
)

resize = dict(type=Resize, scale=(448, 448), keep_ratio=False)
train_dataloader.update(batch_size=8)
train_dataloader.dataset.pipeline = [
    dict(type=LoadImage),
    resize,
    dict(type=RandomFlip, prob=0.5),
    dict(type=ColorJitter),
    dict(type=PackClassInputs),
]
val_dataloader.dataset.pipeline = [
    dict(type=LoadImage),
    resize,
    dict(type=PackClassInputs),
]

max_epochs = 20
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=1000)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=5e-3, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [
    dict(
        type=PolyLR,
        power=1.0,
        eta_min=0.0,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
