"""ACR classifier on Pascal VOC 2012 with DeiT-S at 224 px (table 6)."""

from mmengine.config import read_base

with read_base():
    from .voc import *

model.backbone.name = 'deit_small_patch16_224'
# What DeiT's weights were trained with.
model.update(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
train_dataloader.dataset.pipeline[3].pad = [124, 116, 104]
val_dataloader.dataset.pipeline[2].pad = [124, 116, 104]
# The shares of the crop that 345, 438 and 384 are of 384 px.
train_dataloader.dataset.pipeline[1].update(low=201, high=256)
train_dataloader.dataset.pipeline[3].size = 224
val_dataloader.dataset.pipeline[1].update(low=224, high=224)
val_dataloader.dataset.pipeline[2].size = 224
