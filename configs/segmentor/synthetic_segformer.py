"""A small SegFormer on the synthetic data set, from scratch."""

from mmengine.config import read_base

with read_base():
    from ..deeplabv2.synthetic import *
    from .voc_segformer import model as _large
model.backbone = dict(
    _large.backbone, embed_dims=16, num_layers=[1, 1, 1, 1], mlp_ratio=2
)
model.backbone.pop('drop_path_rate')
model.decode_head = dict(
    _large.decode_head,
    in_channels=[16, 32, 80, 128],
    channels=64,
    num_classes=num_classes,
    loss_decode=model.decode_head.loss_decode,
)
