"""AffinityNet of PSA on Pascal VOC 2012: on WideResNet38, with its released settings.

It refines the maps for tables 2 and 3 of ACR and for table 2 of eX-ViT.
"""

from mmengine.config import read_base
from wsss_plugins import affinity, backbones
from wsss_plugins.datasets import RandomCropPad

with read_base():
    from .voc_affinity import *
model = dict(
    type=affinity.AffinityNet,
    backbone=dict(
        type=backbones.WideResNet38,
        frozen_stages=1,
        # The published ILSVRC weights in PSA's names, wherever you keep them.
        pretrained='data/pretrained/resnet38_ilsvrc.pth',
    ),
    in_channels=(512, 1024, 4096),
    channels=(64, 128, 256),
)
pretrained_supervision = 'ImageNet labels'
_load, _scores, _, _jitter, *_others = train_dataloader.dataset.pipeline
_crop = dict(type=RandomCropPad, size=448, seg_pad=0)  # no score in the padding
train_dataloader.dataset.pipeline = [_load, _scores, _jitter, _crop, *_others]
[_rate] = param_scheduler
_rate.power = 0.9
max_epochs = train_cfg.max_epochs = 8
optim_wrapper.optimizer.update(
    momentum=5e-4,  # released: the weight decay is passed in the place of the momentum
    weight_decay=5e-4,
)
# New layers learn ten times as fast, biases twice; neither network has new biases.
optim_wrapper.paramwise_cfg = dict(
    custom_keys={'f8': dict(lr_mult=10.0), 'f9': dict(lr_mult=10.0)},
    bias_lr_mult=2.0,
    bias_decay_mult=0.0,
)
