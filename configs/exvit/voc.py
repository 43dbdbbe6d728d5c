"""eX-ViT on Pascal VOC 2012: DeiT-S with E-MHA, AttE and a momentum branch.

The classifier of tables 1, 2, 6 and 7 and of figure 8 of eX-ViT. Weights of DeiT-S are
fetched by timm; without a network give the file: --cfg-options
model.backbone.pretrained=FILE. What the paper leaves open is argued in docs/methods.md.
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from torch.optim import AdamW
from wsss_plugins import backbones, classifiers, losses
from wsss_plugins.datasets import TwoViews

with read_base():
    from .._base_.sgd_poly import *
    from .._base_.voc_data import *
model = dict(
    type=classifiers.ExViTClassifier,
    backbone=dict(
        type=backbones.ExViT,
        name='deit_small_patch16_224',  # 12 blocks, 6 heads, 384 channels
        pretrained=True,
        fuse_blocks=3,
        scale='tokens',  # what DeiT's weights are used to: means, not sums over tokens
    ),
    head=dict(
        type=classifiers.AttributeHead,
        num_classes=num_classes,
        channels=256,
        attributes=8,
    ),
    attribute_loss=dict(type=losses.AttributeLoss, discriminability=0.5, diversity=1.0),
)
custom_hooks = [dict(type=classifiers.MomentumHook, momentum=0.999)]
train_dataloader.batch_size = 16
_load, _resize, _flip, _crop, _pack = train_dataloader.dataset.pipeline
_resize.update(low=250, high=1000)  # 0.5 to 2.0 of 500 px
_views = dict(type=TwoViews, pipeline=[_resize, _flip, _crop, _pack])
train_dataloader.dataset.pipeline = [_load, _views]

# 40,000 steps of 16 images over 10,582
max_epochs = train_cfg.max_epochs = 61
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=5e-4),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),  # 5e-5
)
