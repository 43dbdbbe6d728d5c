"""ACR classifier on Pascal VOC 2012: ViT-B at 224 px, which the paper does not have."""

from mmengine.config import read_base

with read_base():
    from .._base_.normalisation import half as _half
    from .voc_deit import *
model.backbone.name = 'vit_base_patch16_224'
model.update(_half)
_, _, _, _crop, _ = train_dataloader.dataset.pipeline
_, _, _val_crop, _ = val_dataloader.dataset.pipeline
_crop.pad = _val_crop.pad = [128, 128, 128]
