"""MCTformer V2 on the frozen maps: a class token per class."""

from mmengine.config import read_base
from wsss_plugins import backbones, classifiers

with read_base():
    from .hybrid import *
model.backbone = dict(
    type=backbones.MultiClassTokenViT,
    num_classes=num_classes,
    stem=dict(net=network, in_index=(1, 2)),
    img_size=448,
    embed_dim=192,
    depth=4,
    num_heads=3,
)
model.head = dict(type=classifiers.MCTHead, num_classes=num_classes)
model.drop_patches = 0.0  # its head is a convolution over the whole grid
