"""MCTformer V2 on Pascal VOC 2012: DeiT-S at 224 px with the released optimiser.

The MCTformer of table 6 of ACR. Released: AdamW, 5e-4 for a batch of 512, so 6.25e-5 for
64; weight decay 0.05, not of biases, norms, class tokens and positions; 5 epochs of warming
up, then cosine to 1e-5, 60 in all; stochastic depth 0.1. Not released, but near: the
augmentation. Theirs is timm's (random resized crop, RandAugment, random erasing); here a
random scale, crop and colours.
"""

from mmengine.config import read_base
from wsss_plugins import backbones, classifiers
from wsss_plugins.datasets import ColorJitter

with read_base():
    from .._base_.adamw_cosine import *
    from .._base_.voc_data import *
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=dict(
        type=backbones.MultiClassTokenViT,
        name='deit_small_patch16_224',
        num_classes=num_classes,
        pretrained=True,  # of timm; or the path of a local file
        drop_path_rate=0.1,
    ),
    head=dict(type=classifiers.MCTHead, num_classes=num_classes),
)
_load, _resize, _flip, _crop, _pack = train_dataloader.dataset.pipeline
_resize.update(low=224, high=512)
_jitter = dict(type=ColorJitter, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.0)
_crop.size = 224
train_dataloader.batch_size = 64
train_dataloader.dataset.pipeline = [_load, _resize, _flip, _jitter, _crop, _pack]
_, _val_resize, _val_crop, _ = val_dataloader.dataset.pipeline
_val_resize.update(low=224, high=224)
_val_crop.size = 224
max_epochs, warm_up = 60, 5
train_cfg.update(max_epochs=max_epochs, val_interval=1000)
optim_wrapper.optimizer.lr = 6.25e-5
optim_wrapper.pop('clip_grad')
optim_wrapper.paramwise_cfg = dict(
    norm_decay_mult=0,
    bias_decay_mult=0,
    custom_keys=dict(cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)),
)
_warm_up, _cosine = param_scheduler
_warm = warm_up / max_epochs
_warm_up.update(start_factor=0.016, end=_warm)
_cosine.update(begin=_warm, T_max=1 - _warm, eta_min=1e-5)
