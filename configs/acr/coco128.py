"""ACR classifier on 128 real COCO photos, from scratch: a trial, not a result."""

from mmengine.config import read_base

with read_base():
    from .synthetic import *
    from .._base_.coco128_data import *
model.backbone.update(img_size=128, patch_size=16, embed_dim=192, num_heads=3)
model.head.num_classes = num_classes
model.drop_patches = 0.0
max_epochs = 150
train_cfg.update(max_epochs=max_epochs, val_interval=1000)
_warm_up, _cosine = param_scheduler
_warm_up.end = _cosine.begin = 1 / 30
_cosine.T_max = 1 - _cosine.begin
