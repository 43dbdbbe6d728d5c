"""MCTformer+ on Pascal VOC 2012: DeiT-S at 448 px, else as V2."""

from mmengine.config import read_base
from wsss_plugins import losses

with read_base():
    from .voc import *
model.backbone.img_size = 448
model.head.update(pool='rank', contrast=dict(type=losses.ClassContrastLoss))
_, _resize, _, _, _crop, _ = train_dataloader.dataset.pipeline
_resize.update(low=448, high=1024)
_crop.size = 448
_, _val_resize, _val_crop, _ = val_dataloader.dataset.pipeline
_val_resize.update(low=448, high=448)
_val_crop.size = 448
