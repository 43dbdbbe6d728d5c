"""128 real COCO photos as a classifier sees them; all of them train, none is held out."""

from mmcv.transforms import RandomFlip
from mmengine.dataset import DefaultSampler

from wsss_plugins.datasets import (
    COCO14,
    LoadImage,
    PackClassInputs,
    RandomCropPad,
    ResizeLongSide,
)
from wsss_plugins.metrics import MultiLabelAP

data_root = '../shared/data/coco128'
split = 'train2014'
label_maps = 'data/coco128/SegmentationClass/train2014'  # of prepare_data.py coco-masks
num_classes = 80

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=COCO14,
        data_root=data_root,
        split=split,
        pipeline=[
            dict(type=LoadImage),
            dict(type=ResizeLongSide, low=144, high=208),
            dict(type=RandomCropPad, size=128),
            dict(type=RandomFlip, prob=0.5),
            dict(type=PackClassInputs),
        ],
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=COCO14,
        data_root=data_root,
        split=split,
        test_mode=True,
        drop_unlabelled=True,
        pipeline=[
            dict(type=LoadImage),
            dict(type=ResizeLongSide, low=224, high=224),
            dict(type=RandomCropPad, size=224),
            dict(type=PackClassInputs),
        ],
    ),
)
val_evaluator = dict(type=MultiLabelAP)
