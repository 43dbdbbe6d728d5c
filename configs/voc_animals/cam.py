"""A linear layer on the last map of a frozen EfficientNet-lite0: the CAM of Zhou et al."""

from mmengine.config import read_base
from wsss_plugins import backbones, classifiers

with read_base():
    from .._base_.adamw_cosine import *
    from .._base_.frozen_data import *
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=dict(type=backbones.CNNBackbone, net=network),
    head=dict(
        type=classifiers.TokenHead,
        num_classes=num_classes,
        sources=('patch',),
        pool_fraction=0.3,
    ),
    **raw,
)
max_epochs = 30
train_cfg.update(max_epochs=max_epochs)
optim_wrapper.optimizer.lr = 1e-3
_warm_up, _cosine = param_scheduler
_warm_up.end = _cosine.begin = 1 / max_epochs
_cosine.T_max = 1 - _cosine.begin
