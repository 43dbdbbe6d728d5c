"""ToCo on Pascal VOC 2012, from image-level labels to masks in one training of 21,000 steps.

The energy loss takes the square of the number of pixels; `energy=0` leaves it out:

    --cfg-options model.energy=0
"""

from mmengine.config import read_base
from mmseg.datasets.transforms import PhotoMetricDistortion
from wsss_plugins import classifiers, segmentors
from wsss_plugins.datasets import DrawNumber, TwoViews

with read_base():
    from ..afa.voc import *
for _key in ('seg_after', 'walk_after'):
    model.pop(_key)
model.update(
    type=classifiers.ToCoClassifier,
)
model.decode_head = dict(
    type=segmentors.LargeFOVHead,
    form='toco',
    in_channels=768,
    channels=512,
    dilation=5,
    num_classes=num_classes + 1,
)
model.backbone.pos_embed = 'bicubic_plain'
_load, _scale, _flip, _crop, _pack = train_dataloader.dataset.pipeline
_crop.size = 448
_views = [dict(type=PhotoMetricDistortion), _pack]
_both = [dict(type=DrawNumber), dict(type=TwoViews, pipeline=_views)]
train_dataloader.batch_size = 4
train_dataloader.dataset.pipeline = [_load, _scale, _flip, _crop, *_both]
max_epochs = train_cfg.max_epochs = 8
# Norms learn here; position embeddings do not.
_rates = dict(pos_embed=dict(lr_mult=0.0), head=dict(lr_mult=10))
optim_wrapper.paramwise_cfg = dict(custom_keys=_rates)
param_scheduler[0].power = 0.9
