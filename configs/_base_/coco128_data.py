"""128 real COCO photos as a classifier sees them; all of them train, none is held out."""

from mmengine.config import read_base
from wsss_plugins.datasets import COCO14

with read_base():
    from .voc_data import *
data_root = '../shared/data/coco128'
split = 'train2014'
label_maps = 'data/coco128/SegmentationClass/train2014'  # of prepare_data.py coco-masks
num_classes = 80
_photos = dict(type=COCO14, data_root=data_root, split=split)
_load, _resize, _flip, _crop, _pack = train_dataloader.dataset.pipeline
_resize.update(low=144, high=208)
_crop.size = 128
train_dataloader.update(batch_size=16, num_workers=1)
train_dataloader.dataset.update(_photos, pipeline=[_load, _resize, _crop, _flip, _pack])
_, _val_resize, _val_crop, _ = val_dataloader.dataset.pipeline
_val_resize.update(low=224, high=224)
_val_crop.size = 224
val_dataloader.update(batch_size=16, num_workers=1)
val_dataloader.dataset.update(_photos, drop_unlabelled=True)
