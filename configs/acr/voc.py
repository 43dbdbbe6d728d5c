"""ACR classifier on Pascal VOC 2012: ViT-hybrid-B 384 with the settings of the paper.

These are presets['paper'] of ../_base_/acr_presets.py; voc_released.py has those of the
released code.
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from torch.optim import SGD

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import ACRClassifier, AttentionEntropyHook, TokenHead
from wsss_plugins.losses import AttentionConsistencyLoss

with read_base():
    from .._base_.voc_data import *

model = dict(
    type=ACRClassifier,
    backbone=dict(
        type=TimmViT,
        name='vit_base_r50_s16_384',
        pretrained=True,  # of timm; or the path of a local file
        final_norm=True,
        pos_embed='bilinear',
        std_eps=None,  # timm's
    ),
    # Only the class token is supervised; patches are read through the same weights.
    head=dict(
        type=TokenHead,
        num_classes=num_classes,
        sources=('class',),
        shared=True,
        pool_fraction=1.0,
    ),
    consistency=dict(
        type=AttentionConsistencyLoss, activation_weight=100.0, affinity_weight=100.0
    ),
    # 0.5 of white, as the hybrid's ImageNet weights were trained; padding is the mean.
    mean=[127.5, 127.5, 127.5],
    std=[127.5, 127.5, 127.5],
)
train_dataloader.dataset.pipeline[3].pad = [128, 128, 128]
val_dataloader.dataset.pipeline[2].pad = [128, 128, 128]

max_epochs = 15
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=1000)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.01, momentum=0.9, weight_decay=5e-4),
)
param_scheduler = [
    dict(
        type=PolyLR,
        power=0.9,
        eta_min=0.0,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
custom_hooks = [dict(type=AttentionEntropyHook)]
