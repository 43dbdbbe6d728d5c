"""MS COCO 2014 as a classifier sees it: train2014 and val2014 with image-level labels."""

from mmengine.config import read_base
from wsss_plugins.datasets import COCO14

with read_base():
    from .voc_data import *
data_root = 'data/coco'
label_maps = 'SegmentationClass/val2014'  # of wsss prepare coco14
num_classes = 80
_coco = dict(type=COCO14, data_root=data_root, drop_unlabelled=True)
train_dataloader.batch_size = 8
train_dataloader.dataset.update(_coco, split='train2014')
val_dataloader.dataset.update(_coco, split='val2014')
