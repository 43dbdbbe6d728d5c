"""The synthetic data set as a segmentor sees it: pseudo labels in, masks of val to score."""

from mmcv.transforms import RandomFlip, RandomResize
from mmengine.dataset import DefaultSampler
from mmseg.datasets.transforms import PackSegInputs, RandomCrop
from mmseg.evaluation.metrics import IoUMetric

from wsss_plugins.datasets import VOC12, LoadImage, LoadLabelMap

data_root = 'data/synthetic/VOC2012'
num_classes = 7  # background counts

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=VOC12,
        data_root=data_root,
        split='train',
        label_maps='pseudo_labels',  # the pipeline puts the folder of its pseudo labels here
        pipeline=[
            dict(type=LoadImage),
            dict(type=LoadLabelMap),
            dict(type=RandomResize, scale=(64, 64), ratio_range=(0.75, 1.5)),
            dict(type=RandomCrop, crop_size=(64, 64)),
            dict(type=RandomFlip, prob=0.5),
            dict(type=PackSegInputs),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=VOC12,
        data_root=data_root,
        split='val',
        label_maps='SegmentationClass',
        test_mode=True,
        pipeline=[
            dict(type=LoadImage),
            dict(type=LoadLabelMap),
            dict(type=PackSegInputs),
        ],
    ),
)
val_evaluator = dict(type=IoUMetric, iou_metrics=['mIoU'], prefix='seg')

# How tools/test.py --multi-scale and --format-only predict.
prediction = dict(scales=(0.75, 1.0, 1.25), flip=True)
