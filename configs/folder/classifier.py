"""Classifier of one's own photos: a transformer pretrained on ImageNet, tags of a table.

For 50 photos and more, of any size; how many classes there are is counted in the table.
"""

from mmengine.config import read_base
from wsss_plugins import backbones, classifiers
from wsss_plugins.datasets import LoadCrop

with read_base():
    from .._base_.adamw_cosine import *
    from .._base_.folder_data import images, long_side, val_images
    from .._base_.voc_data import train_dataloader, val_dataloader, val_evaluator
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=dict(
        type=backbones.TimmViT,
        name='deit_small_patch16_224',
        pretrained=True,  # timm fetches it; a file of it, or False to begin from scratch
    ),
    head=dict(
        type=classifiers.TokenHead, num_classes=None, pool_fraction=0.2
    ),  # as many as tags
)
_, _, _flip, _, _pack = train_dataloader.dataset.pipeline
_crop = dict(type=LoadCrop, size=224, low=224, high=long_side)
_val_crop = dict(type=LoadCrop, size=320, low=320, high=320)
train_dataloader.update(batch_size=8, num_workers=2)
train_dataloader.dataset = dict(images, pipeline=[_crop, _flip, _pack])
val_dataloader.update(batch_size=8, num_workers=2)
val_dataloader.dataset = dict(val_images, test_mode=True, pipeline=[_val_crop, _pack])
max_epochs = 40
train_cfg.update(max_epochs=max_epochs, val_interval=1000)
optim_wrapper.optimizer.lr = 5e-5
optim_wrapper.paramwise_cfg = dict(custom_keys={'head': dict(lr_mult=10)})
_, _cosine = param_scheduler
_cosine.pop('begin')
_cosine.T_max = 1.0
param_scheduler = [_cosine]
