"""IRNet on Pascal VOC 2012: boundaries and displacements from confident labels.

The pipeline gives it the labels. `preset='paper'` trains with momentum 0.9:

    --cfg-options optim_wrapper.paramwise_cfg.preset=paper
"""

from mmcv.transforms import RandomFlip, RandomResize
from mmengine.config import read_base
from mmseg.datasets.transforms import PackSegInputs, RandomCrop
from wsss_plugins import affinity, segmentors
from wsss_plugins.datasets import LoadImage, LoadLabelMap, RandomCropPad, ShrinkLabelMap

with read_base():
    from .._base_.sgd_poly import optim_wrapper, train_cfg
    from .._base_.voc_data import data_root, train_dataloader
model = dict(
    type=affinity.IRNet,
    backbone=dict(
        type=segmentors.DeepLabResNet,
        depth=50,
        with_stem=True,  # maps of strides 4, 4, 8, 16 and 16
        ceil_mode=False,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 1),
        # ImageNet in torchvision's names: resnet50-*.pth, wherever you keep it.
        pretrained='data/pretrained/resnet50.pth',
    ),
    crop_size=512,
)
pretrained_supervision = 'ImageNet labels'
train_dataloader.batch_size = 32
train_dataloader.dataset.update(
    label_maps='confident_labels',  # the pipeline puts its confident labels here
    pipeline=[
        dict(type=LoadImage),
        dict(type=LoadLabelMap),
        dict(
            type=RandomResize, scale=(500, 500), ratio_range=(0.5, 1.5), keep_ratio=True
        ),
        dict(type=RandomFlip, prob=0.5),
        dict(type=RandomCropPad, size=512),
        dict(type=ShrinkLabelMap, stride=4),
        dict(type=PackSegInputs),
    ],
)
max_epochs = train_cfg.max_epochs = 3
train_cfg.pop('val_interval')  # an IRNet has no validation
optim_wrapper.update(
    constructor=segmentors.IRNRates, paramwise_cfg=dict(preset='released')
)
optim_wrapper.optimizer.update(lr=0.1, weight_decay=1e-4)
optim_wrapper.optimizer.pop('momentum')  # the preset says it
param_scheduler = [dict(type=segmentors.WarmUpPolyLR, power=0.9, end=1.0)]
param_scheduler[0].update(by_epoch=False)
custom_hooks = [dict(type=affinity.MeanDisplacementHook)]
