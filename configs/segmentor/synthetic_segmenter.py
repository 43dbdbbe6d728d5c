"""A small Segmenter on the synthetic data set, from scratch."""

from mmengine.config import read_base
from mmseg.models.backbones import VisionTransformer

with read_base():
    from ..deeplabv2.synthetic import *
    from .voc_segmenter import model as _large
model.backbone = dict(
    type=VisionTransformer,
    img_size=(64, 64),
    patch_size=8,
    embed_dims=96,
    num_layers=4,
    num_heads=3,
    final_norm=True,
    with_cls_token=True,
)
model.decode_head = dict(
    _large.decode_head,
    in_channels=96,
    channels=96,
    num_layers=1,
    num_heads=3,
    embed_dims=96,
    num_classes=num_classes,
    loss_decode=model.decode_head.loss_decode,
)
