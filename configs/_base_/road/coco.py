"""MS COCO 2014 as a pipeline reads it: images to make maps of, masks to measure with."""

from mmengine.config import read_base
from wsss_plugins.datasets import COCO14

with read_base():
    from ..coco_data import data_root
images = dict(type=COCO14, data_root=data_root, split='train2014', drop_unlabelled=True)
datasets = dict(
    images=images,
    masks=dict(images, label_maps='SegmentationClass/train2014', test_mode=True),
    val_masks=dict(
        type=COCO14,
        data_root=data_root,
        split='val2014',
        label_maps='SegmentationClass/val2014',
        test_mode=True,
    ),
)
