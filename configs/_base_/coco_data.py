"""MS COCO 2014 as a classifier sees it: train2014 and val2014 with image-level labels."""

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

data_root = 'data/coco'
label_maps = 'SegmentationClass/val2014'  # of tools/prepare_data.py coco14
num_classes = 80

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=COCO14,
        data_root=data_root,
        split='train2014',
        drop_unlabelled=True,
        pipeline=[
            dict(type=LoadImage),
            dict(type=ResizeLongSide, low=345, high=438),
            dict(type=RandomFlip, prob=0.5),
            dict(type=RandomCropPad, size=384),
            dict(type=PackClassInputs),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=COCO14,
        data_root=data_root,
        split='val2014',
        test_mode=True,
        drop_unlabelled=True,
        pipeline=[
            dict(type=LoadImage),
            dict(type=ResizeLongSide, low=384, high=384),
            dict(type=RandomCropPad, size=384),
            dict(type=PackClassInputs),
        ],
    ),
)
val_evaluator = dict(type=MultiLabelAP)
