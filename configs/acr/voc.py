"""ACR classifier on Pascal VOC 2012: ViT-hybrid-B at 384 px, settings of the paper.

The classifier of tables 2 to 5, 7, 8 and 10 and of figures 1 and 8 of ACR. What the paper
leaves open, and what its released code does otherwise (voc_released.py), is in
docs/methods.md.
"""

from mmengine.config import read_base
from wsss_plugins import backbones, classifiers, losses

with read_base():
    from .._base_.normalisation import half as _half
    from .._base_.sgd_poly import *
    from .._base_.voc_data import *
model = dict(
    type=classifiers.ACRClassifier,
    backbone=dict(
        type=backbones.TimmViT,
        name='vit_base_r50_s16_384',
        pretrained=True,  # of timm; or the path of a local file
        final_norm=True,
        pos_embed='bilinear',
        std_eps=None,  # timm's
    ),
    # Only the class token is supervised; patches are read through the same weights.
    head=dict(
        type=classifiers.TokenHead,
        num_classes=num_classes,
        sources=('class',),
        shared=True,
        pool_fraction=1.0,
    ),
    consistency=dict(
        type=losses.AttentionConsistencyLoss,
        activation_weight=100.0,
        affinity_weight=100.0,
    ),
    **_half,  # as the hybrid's ImageNet weights were trained
)
# A short side's padding is the mean colour.
_, _, _, _crop, _ = train_dataloader.dataset.pipeline
_, _, _val_crop, _ = val_dataloader.dataset.pipeline
_crop.pad = _val_crop.pad = [128, 128, 128]
custom_hooks = [dict(type=classifiers.AttentionEntropyHook)]
