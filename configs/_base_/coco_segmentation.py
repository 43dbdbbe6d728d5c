"""MS COCO 2014 as DeepLabV2 sees it: pseudo labels of train2014 in, val2014 to score."""

from mmengine.config import read_base
from wsss_plugins.datasets import COCO14

with read_base():
    from .voc_segmentation import *
    from .coco_data import data_root
num_classes = 81
_, _, _resize, _, _, _ = train_dataloader.dataset.pipeline
_resize.scale = (640, 640)
train_dataloader.dataset.update(
    type=COCO14,
    data_root=data_root,
    split='train2014',
    drop_unlabelled=True,  # 82,081: no pseudo label is made of the others
)
val_dataloader.dataset.update(
    type=COCO14,
    data_root=data_root,
    split='val2014',
    label_maps='SegmentationClass/val2014',  # of tools/prepare_data.py coco-masks
)
