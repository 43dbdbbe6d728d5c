"""MCTformer+ on Pascal VOC 2012: DeiT-S at 448 px, else as V2."""

from mmengine.config import read_base

from wsss_plugins.losses import ClassContrastLoss

with read_base():
    from .voc import *

model.backbone.img_size = 448
model.head.update(pool='rank', contrast=dict(type=ClassContrastLoss))
train_dataloader.dataset.pipeline[1].update(low=448, high=1024)
train_dataloader.dataset.pipeline[4].size = 448
val_dataloader.dataset.pipeline[1].update(low=448, high=448)
val_dataloader.dataset.pipeline[2].size = 448
