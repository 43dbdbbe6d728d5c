"""A small SegFormer on the synthetic data set, from scratch."""

from mmengine.config import read_base
from mmseg.models.backbones import MixVisionTransformer
from mmseg.models.decode_heads import SegformerHead

with read_base():
    from ..deeplabv2.synthetic import *

model.backbone = dict(
    type=MixVisionTransformer,
    embed_dims=16,
    num_stages=4,
    num_layers=[1, 1, 1, 1],
    num_heads=[1, 2, 5, 8],
    patch_sizes=[7, 3, 3, 3],
    sr_ratios=[8, 4, 2, 1],
    out_indices=(0, 1, 2, 3),
    mlp_ratio=2,
    qkv_bias=True,
)
model.decode_head = dict(
    type=SegformerHead,
    in_channels=[16, 32, 80, 128],
    in_index=[0, 1, 2, 3],
    channels=64,
    dropout_ratio=0.1,
    num_classes=num_classes,
    norm_cfg=dict(type='BN'),
    loss_decode=model.decode_head.loss_decode,
)
