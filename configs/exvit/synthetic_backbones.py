"""A classifier with a plain CAM on the synthetic set: encoders of table 5 of eX-ViT."""

from mmengine.config import read_base
from wsss_plugins.datasets import ResizeLongSide

with read_base():
    from .._base_.synthetic_classifier import *
# The softmax ViT of the size of eX-ViT's encoder.
model.backbone.stem = 'conv_group'
model.head.sources = ('patch',)
model.pop('drop_patches')
custom_hooks = []
_load, _flip, _crop, _pack = train_dataloader.dataset.pipeline
_resize = dict(type=ResizeLongSide, low=48, high=96)
train_dataloader.dataset.pipeline = [_load, _resize, _flip, _crop, _pack]
