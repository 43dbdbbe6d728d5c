"""Segmentor of one's own photos: the classifier's transformer and two convolutions.

Its first weights are those of the trained classifier, so nothing else is fetched. There
is no batch normalisation: a handful of photos is enough for a step.
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from mmseg.datasets.transforms import PhotoMetricDistortion
from mmseg.models.decode_heads import FCNHead
from torch.optim import AdamW
from wsss_plugins import backbones
from wsss_plugins.datasets import LoadCrop

with read_base():
    from .._base_.deeplab_segmentation import *
    from .._base_.folder_data import images, long_side
    from .._base_.voc_segmentation import train_dataloader
model.data_preprocessor.size = (256, 256)
model.backbone = dict(
    type=backbones.PatchMaps,
    backbone=dict(type=backbones.TimmViT, name='deit_small_patch16_224'),
    pretrained=None,  # the pipeline puts the trained classifier here
)
model.decode_head.update(
    type=FCNHead,
    in_channels=384,
    in_index=0,
    channels=128,
    num_convs=1,
    concat_input=False,
    dropout_ratio=0.1,
    num_classes=None,  # as many as tags, and the background
    norm_cfg=dict(type='GN', num_groups=16),
)
_crop = dict(type=LoadCrop, size=256, low=256, high=long_side)
*_, _flip, _pack = train_dataloader.dataset.pipeline
train_dataloader.update(batch_size=8, num_workers=2)
train_dataloader.dataset = dict(
    images,
    label_maps='pseudo_labels',  # the pipeline puts the folder of its pseudo labels here
    pipeline=[_crop, _flip, dict(type=PhotoMetricDistortion), _pack],
)
val_dataloader = None  # EvaluateLabelStage scores the predictions where there are masks
val_evaluator = None
val_cfg = None
[_rate] = param_scheduler
_rate.eta_min = 1e-6
max_epochs = train_cfg.max_epochs = 40
train_cfg.pop('val_interval')
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=5e-5, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10)}),
    clip_grad=dict(max_norm=1.0),
)
