"""The classifier of IRN on Pascal VOC 2012: ResNet-50 of stride 16, global average pooling."""

from mmcv.transforms import RandomFlip, RandomResize
from mmengine.config import read_base
from wsss_plugins import backbones, classifiers
from wsss_plugins.datasets import LoadImage, PackClassInputs, RandomCropPad

with read_base():
    from .._base_.sgd_poly import *
    from .._base_.voc_data import *
model = dict(
    type=classifiers.WSSSClassifier,
    backbone=dict(
        type=backbones.TimmCNN,
        name='resnet50',
        output_stride=16,
        pretrained=True,
        frozen=('conv1', 'bn1', 'layer1'),
    ),
    head=dict(
        type=classifiers.TokenHead,
        num_classes=num_classes,
        sources=('patch',),
        pool_fraction=1.0,
    ),
)
train_dataloader.batch_size = 16
train_dataloader.dataset.pipeline = [
    dict(type=LoadImage),
    dict(
        type=RandomResize, scale=(500, 500), ratio_range=(0.64, 1.28), keep_ratio=True
    ),
    dict(type=RandomFlip, prob=0.5),
    dict(type=RandomCropPad, size=512),
    dict(type=PackClassInputs),
]
max_epochs = train_cfg.max_epochs = 5
# New layers learn ten times as fast.
optim_wrapper.optimizer.update(lr=0.1, weight_decay=1e-4)
optim_wrapper.paramwise_cfg = dict(custom_keys={'backbone': dict(lr_mult=0.1)})
