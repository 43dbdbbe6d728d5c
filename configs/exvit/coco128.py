"""eX-ViT on 128 real photos, from scratch: a trial of the road, not a result."""

from mmengine.config import read_base

with read_base():
    from .synthetic import *
    from .._base_.coco128_data import *

model.backbone.update(img_size=128, patch_size=16, embed_dim=192, num_heads=3)
model.head.update(num_classes=num_classes, channels=256, attributes=16)
train_dataloader.dataset.pipeline = [
    dict(type=LoadImage),
    dict(
        type=TwoViews,
        pipeline=[
            dict(type=ResizeLongSide, low=112, high=224),
            dict(type=RandomCropPad, size=128),
            dict(type=RandomFlip, prob=0.5),
            dict(type=PackClassInputs),
        ],
    ),
]

max_epochs = 150
train_cfg.update(max_epochs=max_epochs, val_interval=1000)
param_scheduler[0].end = 5
param_scheduler[1].update(begin=5, T_max=max_epochs - 5)
