"""128 real COCO photos as a segmentor sees them; scored on the photos it was trained on."""

from mmcv.transforms import RandomFlip, RandomResize
from mmengine.dataset import DefaultSampler
from mmseg.datasets.transforms import PackSegInputs, PhotoMetricDistortion, RandomCrop
from mmseg.evaluation.metrics import IoUMetric

from wsss_plugins.datasets import COCO14, LoadImage, LoadLabelMap

data_root = '../shared/data/coco128'
split = 'train2014'
num_classes = 81

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    sampler=dict(type=DefaultSampler, shuffle=True),
    drop_last=True,
    dataset=dict(
        type=COCO14,
        data_root=data_root,
        split=split,
        label_maps='pseudo_labels',  # the pipeline puts the folder of its pseudo labels here
        pipeline=[
            dict(type=LoadImage),
            dict(type=LoadLabelMap),
            dict(
                type=RandomResize,
                scale=(256, 256),
                ratio_range=(0.75, 1.5),
                keep_ratio=True,
            ),
            dict(type=RandomCrop, crop_size=(160, 160)),
            dict(type=RandomFlip, prob=0.5),
            dict(type=PhotoMetricDistortion),
            dict(type=PackSegInputs),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=COCO14,
        data_root=data_root,
        split=split,
        label_maps='data/coco128/SegmentationClass/train2014',
        test_mode=True,
        drop_unlabelled=True,
        pipeline=[
            dict(type=LoadImage),
            dict(type=LoadLabelMap),
            dict(type=PackSegInputs),
        ],
    ),
)
val_evaluator = dict(type=IoUMetric, iou_metrics=['mIoU'], prefix='seg')
