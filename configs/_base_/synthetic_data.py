"""The synthetic data set of `wsss prepare synthetic`: classifier's view of it."""

from mmengine.config import read_base

with read_base():
    from .voc_data import *
data_root = 'data/synthetic/VOC2012'
num_classes = 6
_load, _, _flip, _crop, _pack = train_dataloader.dataset.pipeline
_crop.size = 64
train_dataloader.update(
    batch_size=32,
    num_workers=0,  # a 64 px image is decoded faster than it is sent between processes
)
train_dataloader.dataset.update(
    data_root=data_root, split='train', pipeline=[_load, _flip, _crop, _pack]
)
val_dataloader.update(batch_size=100, num_workers=0)
val_dataloader.dataset.update(data_root=data_root, pipeline=[_load, _pack])
