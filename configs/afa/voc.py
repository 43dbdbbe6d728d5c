"""AFA on Pascal VOC 2012, from image-level labels to masks in one training of 20,000 steps.

The backbone is DeiT-B, where AFA has MiT-B1. `preset='paper'` adds the energy loss:

    --cfg-options model.preset=paper
"""

from mmcv.transforms import RandomResize
from mmengine.config import read_base
from wsss_plugins import backbones, classifiers, segmentors

with read_base():
    from .._base_.adamw_cosine import *
    from .._base_.voc_data import *
model = dict(
    type=classifiers.AFAClassifier,
    backbone=dict(
        type=backbones.TimmViT, name='deit_base_patch16_224', pretrained=True
    ),
    head=dict(type=classifiers.MaxTokenHead, num_classes=num_classes),
    decode_head=dict(
        type=segmentors.GlobalContextHead,
        in_channels=(768,),
        in_index=(0,),
        channels=256,
        num_classes=num_classes + 1,
        norm_cfg=dict(type='GN', num_groups=32),
    ),
    preset='released',
    seg_after=2000,
    walk_after=6000,
)
_load, _resize, _flip, _crop, _pack = train_dataloader.dataset.pipeline
_scale = dict(
    type=RandomResize, scale=(500, 500), ratio_range=(0.5, 2.0), keep_ratio=True
)
_crop.size = 512
train_dataloader.batch_size = 8
train_dataloader.dataset.pipeline = [_load, _scale, _flip, _crop, _pack]
max_epochs = train_cfg.max_epochs = 15
# New layers learn ten times as fast; norms of the backbone do not learn.
_rates = {name: dict(lr_mult=0.0) for name in ('norm1', 'norm2', 'vit.norm')}
optim_wrapper.update(
    paramwise_cfg=dict(custom_keys=dict(_rates, head=dict(lr_mult=10)))
)
optim_wrapper.optimizer.update(lr=6e-5, weight_decay=0.01)
optim_wrapper.pop('clip_grad')
param_scheduler = [
    dict(type=segmentors.WarmUpPolyLR, power=1.0, warm_up=1500, end=1.0, by_epoch=False)
]
