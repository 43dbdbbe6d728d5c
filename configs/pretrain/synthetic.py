"""Weights of `pretrained='synthetic'`: damaged images are mended, no label is looked at.

Its images: wsss prepare synthetic --recombined --train 16000
--out data/synthetic_recombined. The file of the package is made of the result with
wsss export, see docs/methods.md.
"""

from mmengine.config import read_base
from mmengine.optim import LinearLR
from wsss_plugins import classifiers, metrics

with read_base():
    from .._base_.synthetic_classifier import *
data_root = 'data/synthetic_recombined/VOC2012'
train_dataloader.dataset.data_root = data_root
val_dataloader.dataset.data_root = data_root
val_evaluator = dict(type=metrics.MendedPixels)
model = dict(
    type=classifiers.MaskedDenoiser,
    backbone=model.backbone,
    mask_ratio=0.6,
    colour_shift=0.3,
)
max_epochs = train_cfg.max_epochs = 3
optim_wrapper.optimizer.lr = 2e-3
_, _cosine = param_scheduler
_cosine.pop('begin')
_cosine.T_max = 1.0
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, end=150, by_epoch=False),
    _cosine,
]
