"""The start `pretrained='synthetic'`: damaged images are mended, no label is looked at.

Its images: python tools/prepare_data.py synthetic --recombined --train 16000
--out data/synthetic_recombined. The file of the package is made of the result with
tools/export_weights.py, see docs/methods.md.
"""

from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from torch.optim import AdamW

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import MaskedDenoiser
from wsss_plugins.metrics import MendedPixels

with read_base():
    from .._base_.synthetic_data import *

data_root = 'data/synthetic_recombined/VOC2012'
train_dataloader.update(batch_size=32)
train_dataloader.dataset.update(data_root=data_root)
val_dataloader.dataset.update(data_root=data_root)
val_evaluator = dict(type=MendedPixels)

model = dict(
    type=MaskedDenoiser,
    backbone=dict(  # that of configs/acr/synthetic.py
        type=TimmViT,
        stem='conv',
        img_size=64,
        patch_size=8,
        embed_dim=128,
        depth=4,
        num_heads=4,
        mlp_ratio=3,
    ),
    mask_ratio=0.6,
    colour_shift=0.3,
)

max_epochs = 3
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=100)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=2e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.05, end=150, by_epoch=False),
    dict(
        type=CosineAnnealingLR,
        T_max=max_epochs,
        eta_min=1e-6,
        convert_to_iter_based=True,
    ),
]
