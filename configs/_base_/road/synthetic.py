"""The synthetic set as a pipeline reads it: images to make maps of, masks to measure with."""

from mmengine.config import read_base
from wsss_plugins.datasets import VOC12

with read_base():
    from ..synthetic_data import data_root
images = dict(type=VOC12, data_root=data_root, split='train')
masks = dict(images, label_maps='SegmentationClass', test_mode=True)
datasets = dict(
    images=images,
    masks=masks,
    val_images=dict(images, split='val'),
    val_masks=dict(masks, split='val'),
)
