"""ACR classifier on MS COCO 2014: ViT-hybrid-B at 384 px, settings of the paper.

The classifier of tables 1 and 11 of ACR. The paper gives epochs for VOC alone: here are the
5 of the released code.
"""

from mmengine.config import read_base

with read_base():
    from .voc import *
    from .._base_.coco_data import *
model.head.num_classes = num_classes
train_dataloader.batch_size = 4
_, _, _, _crop, _ = train_dataloader.dataset.pipeline
_, _, _val_crop, _ = val_dataloader.dataset.pipeline
_crop.pad = _val_crop.pad = [128, 128, 128]
max_epochs = train_cfg.max_epochs = 5
