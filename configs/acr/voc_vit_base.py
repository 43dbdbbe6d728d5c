"""ACR classifier on Pascal VOC 2012 with ViT-B at 224 px; not in the paper."""

from mmengine.config import read_base

with read_base():
    from .voc_deit import *

model.backbone.name = 'vit_base_patch16_224'
model.update(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
train_dataloader.dataset.pipeline[3].pad = [128, 128, 128]
val_dataloader.dataset.pipeline[2].pad = [128, 128, 128]
