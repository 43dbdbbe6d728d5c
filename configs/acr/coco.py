"""ACR on MS COCO 2014 with ViT-hybrid-B at 384 px: as on VOC; the released 5 epochs."""

from mmengine.config import read_base

with read_base():
    from .voc import *
    from .._base_.coco_data import *

train_dataloader.batch_size = 4
train_dataloader.dataset.pipeline[3].pad = [128, 128, 128]
val_dataloader.dataset.pipeline[2].pad = [128, 128, 128]
model.head.num_classes = num_classes

max_epochs = 5
train_cfg.max_epochs = max_epochs
param_scheduler[0].end = max_epochs
