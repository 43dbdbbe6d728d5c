"""MS COCO 2014 as DeepLabV2 sees it: pseudo labels of train2014 in, val2014 to score."""

from mmcv.transforms import RandomFlip, RandomResize
from mmengine.dataset import DefaultSampler
from mmseg.datasets.transforms import PackSegInputs, RandomCrop
from mmseg.evaluation.metrics import IoUMetric

from wsss_plugins.datasets import COCO14, LoadImage, LoadLabelMap
from wsss_plugins.refiners import DenseCRF

data_root = 'data/coco'
num_classes = 81

train_dataloader = dict(
    batch_size=10,
    num_workers=4,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=COCO14,
        data_root=data_root,
        split='train2014',
        drop_unlabelled=True,  # 82,081: no pseudo label is made of the others
        label_maps='pseudo_labels',  # the pipeline puts the folder of its pseudo labels here
        pipeline=[
            dict(type=LoadImage),
            dict(type=LoadLabelMap),
            dict(
                type=RandomResize,
                scale=(640, 640),
                ratio_range=(0.5, 1.5),
                keep_ratio=True,
            ),
            dict(type=RandomCrop, crop_size=(321, 321)),
            dict(type=RandomFlip, prob=0.5),
            dict(type=PackSegInputs),
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
        label_maps='SegmentationClass/val2014',  # of tools/prepare_data.py coco-masks
        test_mode=True,
        pipeline=[
            dict(type=LoadImage),
            dict(type=LoadLabelMap),
            dict(type=PackSegInputs),
        ],
    ),
)
val_evaluator = dict(type=IoUMetric, iou_metrics=['mIoU'], prefix='seg')

# How tools/test.py --multi-scale predicts.
prediction = dict(
    scales=(0.5, 0.75, 1.0, 1.25, 1.5),
    flip=True,
    refiners=[dict(type=DenseCRF, preset='deeplab')],
)
