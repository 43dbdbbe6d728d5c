"""eX-ViT on MS COCO 2014: as on VOC, with 16 attributes and batches of 8."""

from mmengine.config import read_base

with read_base():
    from .voc import *
    from .._base_.coco_data import *

views = [
    dict(type=LoadImage),
    dict(
        type=TwoViews,
        pipeline=[
            dict(type=ResizeLongSide, low=320, high=1280),  # 0.5 to 2.0 of 640 px
            dict(type=RandomFlip, prob=0.5),
            dict(type=RandomCropPad, size=384),
            dict(type=PackClassInputs),
        ],
    ),
]
train_dataloader.dataset.pipeline = views
model.head.update(num_classes=num_classes, attributes=16)

max_epochs = 8  # 80,000 steps of 8 images over 82,081
train_cfg.max_epochs = max_epochs
param_scheduler[0].end = max_epochs
