"""The synthetic data set as a segmentor sees it: pseudo labels in, masks of val to score."""

from mmengine.config import read_base

with read_base():
    from .voc_segmentation import *
    from .synthetic_data import data_root
num_classes = 7  # background counts
_, _, _resize, _crop, _, _ = train_dataloader.dataset.pipeline
_resize.update(scale=(64, 64), ratio_range=(0.75, 1.5))
_resize.pop('keep_ratio')
_crop.crop_size = (64, 64)
train_dataloader.update(batch_size=32, num_workers=0)
train_dataloader.dataset.update(data_root=data_root, split='train')
val_dataloader.num_workers = 0
val_dataloader.dataset.data_root = data_root

# How wsss test --multi-scale and --format-only predict.
prediction = dict(scales=(0.75, 1.0, 1.25), flip=True)
