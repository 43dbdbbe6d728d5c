"""Segmenter (ViT-S/16, mask transformer) on pseudo labels of Pascal VOC 2012.

Strudel et al., "Segmenter: Transformer for Semantic Segmentation", ICCV 2021.
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from mmseg.models import backbones, decode_heads
from torch.optim import SGD

with read_base():
    from .._base_.normalisation import half as _half
    from .._base_.voc_segmentation import *
    from .._base_.deeplab_segmentation import *
model.data_preprocessor.update(_half, size=(512, 512))
model.backbone = dict(
    type=backbones.VisionTransformer,
    img_size=(512, 512),
    patch_size=16,
    embed_dims=384,
    num_layers=12,
    num_heads=6,
    drop_path_rate=0.1,
    final_norm=True,
    norm_cfg=dict(type='LN', eps=1e-6),
    with_cls_token=True,
    interpolate_mode='bicubic',
)
model.decode_head.update(
    type=decode_heads.SegmenterMaskTransformerHead,
    in_channels=384,
    channels=384,
    in_index=-1,
    num_layers=2,
    num_heads=6,
    embed_dims=384,
    dropout_ratio=0.0,
    num_classes=num_classes,
)
model.test_cfg = dict(mode='slide', crop_size=(512, 512), stride=(480, 480))

# ImageNet in mmsegmentation's names: vit_small_p16_384_*.pth of its Segmenter.
pretrained = dict(backbone='data/pretrained/vit_small_p16_384.pth')
pretrained_supervision = 'ImageNet-21k labels'
_, _, _, _crop, _, _ = train_dataloader.dataset.pipeline
_crop.crop_size = (512, 512)
train_dataloader.batch_size = 8
optim_wrapper = dict(
    type=OptimWrapper, optimizer=dict(type=SGD, lr=1e-3, momentum=0.9, weight_decay=0.0)
)
