"""ACR classifier on MS COCO 2014: ViT-hybrid-B at 384 px, settings of the released code."""

from mmengine.config import read_base

with read_base():
    from .voc_released import *
    from .._base_.coco_data import *
model.head.num_classes = num_classes
# The released script for COCO names no weight, which leaves the default.
model.consistency.update(activation_weight=100.0, affinity_weight=100.0)
train_dataloader.batch_size = 4
_, _, _, _crop, _ = train_dataloader.dataset.pipeline
_, _, _val_crop, _ = val_dataloader.dataset.pipeline
_crop.pad = _val_crop.pad = [124, 116, 104]
max_epochs = train_cfg.max_epochs = 5
