"""ACR on MS COCO 2014 with ViT-hybrid-B at 384 px: as on VOC; the released 5 epochs."""

from mmengine.config import read_base

with read_base():
    from .voc import *
    from .._base_.coco_data import *

model.head.num_classes = num_classes
train_dataloader.batch_size = 4
_, _, _, _crop, _ = train_dataloader.dataset.pipeline
_, _, _val_crop, _ = val_dataloader.dataset.pipeline
_crop.pad = _val_crop.pad = [128, 128, 128]

[_rate] = param_scheduler
max_epochs = train_cfg.max_epochs = _rate.end = 5
