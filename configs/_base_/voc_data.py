"""Pascal VOC 2012, train_aug, as the released ACR code prepares it."""

from mmcv.transforms import RandomFlip
from mmengine.dataset import DefaultSampler
from wsss_plugins import metrics
from wsss_plugins.datasets import VOC12, LoadImage, PackClassInputs
from wsss_plugins.datasets import RandomCropPad, ResizeLongSide

data_root = 'data/VOCdevkit/VOC2012'
num_classes = 20

_load, _pack = dict(type=LoadImage), dict(type=PackClassInputs)
_train = [
    _load,
    dict(type=ResizeLongSide, low=345, high=438),
    dict(type=RandomFlip, prob=0.5),
    dict(type=RandomCropPad, size=384),
    _pack,
]
_resize = dict(type=ResizeLongSide, low=384, high=384)
_val = [_load, _resize, dict(type=RandomCropPad, size=384), _pack]
_voc = dict(type=VOC12, data_root=data_root)
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(_voc, split='train_aug', pipeline=_train),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(_voc, split='val', test_mode=True, pipeline=_val),
)
val_evaluator = dict(type=metrics.MultiLabelAP)
