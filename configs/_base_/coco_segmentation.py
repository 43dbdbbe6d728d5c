"""MS COCO 2014 as DeepLabV2 sees it: pseudo labels of train2014 in, val2014 to score."""

from mmengine.config import read_base
from wsss_plugins.datasets import COCO14

with read_base():
    from .voc_segmentation import *
    from .coco_data import data_root
num_classes = 81
_, _, _resize, _, _, _ = train_dataloader.dataset.pipeline
_resize.scale = (640, 640)
_coco = dict(type=COCO14, data_root=data_root)
# 82,081 have labels: no pseudo label is made of the others.
train_dataloader.dataset.update(_coco, split='train2014', drop_unlabelled=True)
_masks = 'SegmentationClass/val2014'  # of wsss prepare coco-masks
val_dataloader.dataset.update(_coco, split='val2014', label_maps=_masks)
