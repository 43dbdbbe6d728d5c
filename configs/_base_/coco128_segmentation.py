"""128 real COCO photos as a segmentor sees them."""

from mmcv.transforms import RandomFlip, RandomResize
from mmengine.dataset import DefaultSampler
from mmseg.datasets.transforms import PackSegInputs, PhotoMetricDistortion, RandomCrop

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
                scale=(192, 192),
                ratio_range=(0.75, 1.5),
                keep_ratio=True,
            ),
            dict(type=RandomCrop, crop_size=(128, 128)),
            dict(type=RandomFlip, prob=0.5),
            dict(type=PhotoMetricDistortion),
            dict(type=PackSegInputs),
        ],
    ),
)
val_dataloader = None  # the pipeline scores the photos, see EvaluateLabelStage
val_evaluator = None
