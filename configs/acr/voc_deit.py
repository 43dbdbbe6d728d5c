"""ACR classifier on Pascal VOC 2012: DeiT-S at 224 px, for table 6 of ACR."""

from mmengine.config import read_base

with read_base():
    from .._base_.normalisation import imagenet as _imagenet
    from .voc import *
model.backbone.name = 'deit_small_patch16_224'
model.update(_imagenet)  # what DeiT's weights were trained with
# The shares of the crop that 345, 438 and 384 are of 384 px.
_, _resize, _, _crop, _ = train_dataloader.dataset.pipeline
_resize.update(low=201, high=256)
_crop.update(size=224, pad=[124, 116, 104])
_, _val_resize, _val_crop, _ = val_dataloader.dataset.pipeline
_val_resize.update(low=224, high=224)
_val_crop.update(size=224, pad=[124, 116, 104])
