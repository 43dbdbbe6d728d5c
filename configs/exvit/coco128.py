"""eX-ViT classifier on 128 real COCO photos, from scratch: a trial, not a result."""

from mmengine.config import read_base
from wsss_plugins.datasets import TwoViews

with read_base():
    from .synthetic import *
    from .._base_.coco128_data import *
    from ..acr.coco128 import max_epochs, param_scheduler, train_cfg
model.backbone.update(img_size=128, patch_size=16, embed_dim=192, num_heads=3)
model.head.update(num_classes=num_classes, channels=256, attributes=16)
_load, _resize, _crop, _flip, _pack = train_dataloader.dataset.pipeline
_resize.update(low=112, high=224)
_views = dict(type=TwoViews, pipeline=[_resize, _crop, _flip, _pack])
train_dataloader.dataset.pipeline = [_load, _views]
