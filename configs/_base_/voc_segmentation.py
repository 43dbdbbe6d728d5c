"""Pascal VOC 2012 as DeepLabV2 sees it: pseudo labels of train_aug in, val to score."""

from mmcv.transforms import RandomFlip, RandomResize
from mmengine.config import read_base
from mmseg.datasets.transforms import PackSegInputs, RandomCrop
from mmseg.evaluation.metrics import IoUMetric
from wsss_plugins import refiners
from wsss_plugins.datasets import LoadImage, LoadLabelMap

with read_base():
    from .voc_data import data_root, train_dataloader, val_dataloader
num_classes = 21
train_dataloader.batch_size = 10
train_dataloader.dataset.update(
    label_maps='pseudo_labels',  # the pipeline puts the folder of its pseudo labels here
    pipeline=[
        dict(type=LoadImage),
        dict(type=LoadLabelMap),
        dict(
            type=RandomResize, scale=(500, 500), ratio_range=(0.5, 1.5), keep_ratio=True
        ),
        dict(type=RandomCrop, crop_size=(321, 321)),
        dict(type=RandomFlip, prob=0.5),
        dict(type=PackSegInputs),
    ],
)
val_dataloader.dataset.update(
    label_maps='SegmentationClass',
    pipeline=[dict(type=LoadImage), dict(type=LoadLabelMap), dict(type=PackSegInputs)],
)
val_evaluator = dict(type=IoUMetric, iou_metrics=['mIoU'], prefix='seg')

# How wsss test --multi-scale and --format-only predict.
prediction = dict(
    scales=(0.5, 0.75, 1.0, 1.25, 1.5),
    flip=True,
    refiners=[dict(type=refiners.DenseCRF, preset='deeplab')],
)
