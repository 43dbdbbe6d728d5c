"""Classifier of table 4 of the ReScience paper: ViT-hybrid-B at 448 px on VOC 2012."""

from mmcv.transforms import Resize
from mmengine.config import read_base
from wsss_plugins import backbones, classifiers
from wsss_plugins.datasets import ColorJitter

with read_base():
    from .._base_.normalisation import half as _half
    from .._base_.sgd_poly import *
    from .._base_.voc_data import *
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=dict(
        type=backbones.TimmViT,
        name='vit_base_r50_s16_384',
        pretrained=True,  # of timm; or the path of a local file
    ),
    head=dict(
        type=classifiers.TokenHead,
        num_classes=num_classes,
        sources=('class',),
        shared=True,
    ),
    **_half,
)
resize = dict(type=Resize, scale=(448, 448), keep_ratio=False)
_load, _, _flip, _, _pack = train_dataloader.dataset.pipeline
train_dataloader.batch_size = 8
train_dataloader.dataset.pipeline = [
    _load,
    resize,
    _flip,
    dict(type=ColorJitter),
    _pack,
]
val_dataloader.dataset.pipeline = [_load, resize, _pack]
[_rate] = param_scheduler
_rate.power = 1.0
max_epochs = train_cfg.max_epochs = 20
optim_wrapper.optimizer.update(lr=5e-3, weight_decay=1e-4)
