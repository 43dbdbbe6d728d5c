"""SegFormer (MiT-B1) on pseudo labels of Pascal VOC 2012.

Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers", NeurIPS 2021.
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from mmseg.models import backbones, decode_heads
from torch.optim import AdamW

with read_base():
    from .._base_.voc_segmentation import *
    from .._base_.deeplab_segmentation import *
model.data_preprocessor.size = (512, 512)
model.backbone = dict(
    type=backbones.MixVisionTransformer,
    embed_dims=64,
    num_stages=4,
    num_layers=[2, 2, 2, 2],
    num_heads=[1, 2, 5, 8],
    patch_sizes=[7, 3, 3, 3],
    sr_ratios=[8, 4, 2, 1],
    out_indices=(0, 1, 2, 3),
    mlp_ratio=4,
    qkv_bias=True,
    drop_path_rate=0.1,
)
model.decode_head.update(
    type=decode_heads.SegformerHead,
    in_channels=[64, 128, 320, 512],
    in_index=[0, 1, 2, 3],
    channels=256,
    dropout_ratio=0.1,
    num_classes=num_classes,
    norm_cfg=dict(type='BN'),
)

# ImageNet in mmsegmentation's names: mit_b1_*.pth of its SegFormer.
pretrained = dict(backbone='data/pretrained/mit_b1.pth')
pretrained_supervision = 'ImageNet labels'
_, _, _, _crop, _, _ = train_dataloader.dataset.pipeline
_crop.crop_size = (512, 512)
train_dataloader.batch_size = 16
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={'norm': dict(decay_mult=0.0), 'decode_head': dict(lr_mult=10.0)}
    ),
)
[_rate] = param_scheduler
_rate.power = 1.0
