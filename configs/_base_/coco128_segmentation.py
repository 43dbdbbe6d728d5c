"""128 real COCO photos as a segmentor sees them."""

from mmengine.config import read_base
from mmseg.datasets.transforms import PhotoMetricDistortion
from wsss_plugins.datasets import COCO14

with read_base():
    from .coco128_data import data_root, split
    from .voc_segmentation import train_dataloader
num_classes = 81
_load, _labels, _resize, _crop, _flip, _pack = train_dataloader.dataset.pipeline
_colours = dict(type=PhotoMetricDistortion)
_resize.update(scale=(192, 192), ratio_range=(0.75, 1.5))
_crop.crop_size = (128, 128)
train_dataloader.update(batch_size=16, num_workers=1, drop_last=True)
train_dataloader.dataset.update(
    type=COCO14,
    data_root=data_root,
    split=split,
    pipeline=[_load, _labels, _resize, _crop, _flip, _colours, _pack],
)
val_dataloader = None  # the pipeline scores the photos, see EvaluateLabelStage
val_evaluator = None
