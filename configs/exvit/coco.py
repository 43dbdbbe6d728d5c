"""eX-ViT on MS COCO 2014: as on VOC, with 16 attributes and batches of 8.

The classifier of tables 3, 4 and 7 of eX-ViT.
"""

from mmengine.config import read_base
from wsss_plugins.datasets import TwoViews

with read_base():
    from .voc import *
    from .._base_.coco_data import *
model.head.update(num_classes=num_classes, attributes=16)
_load, _resize, _flip, _crop, _pack = train_dataloader.dataset.pipeline
_resize.update(low=320, high=1280)  # 0.5 to 2.0 of 640 px
views = [_load, dict(type=TwoViews, pipeline=[_resize, _flip, _crop, _pack])]
train_dataloader.dataset.pipeline = views

# 80,000 steps of 8 images over 82,081
max_epochs = train_cfg.max_epochs = 8
