"""Pascal VOC 2012 as a pipeline reads it: images to make maps of, masks to measure with."""

from mmengine.config import read_base
from wsss_plugins.datasets import VOC12

with read_base():
    from ..voc_data import data_root
train = dict(type=VOC12, data_root=data_root, split='train')
masks = dict(train, label_maps='SegmentationClass', test_mode=True)
datasets = dict(
    images=dict(train, split='train_aug'),
    # Papers measure seeds and pseudo labels on the 1,464 images of train.
    train_images=train,
    masks=masks,
    val_images=dict(train, split='val'),
    val_masks=dict(masks, split='val'),
)
