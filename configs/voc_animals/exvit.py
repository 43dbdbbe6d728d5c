"""eX-ViT on the frozen maps: E-MHA, AttE, and a momentum branch that sees another crop."""

from mmengine.config import read_base
from wsss_plugins import classifiers, losses
from wsss_plugins.datasets import CropView, TwoViews

with read_base():
    from .emha import *
model.update(
    type=classifiers.ExViTClassifier,
    head=dict(
        type=classifiers.AttributeHead, num_classes=num_classes, meet='tile'
    ),  # 'norm', the paper's other reading, is a row of claims_exvit.py
    attribute_loss=dict(type=losses.AttributeLoss, discriminability=0.5, diversity=1.0),
)
custom_hooks = [dict(type=classifiers.MomentumHook, momentum=0.999)]
_load, _pack = train_dataloader.dataset.pipeline
_views = [_load, dict(type=CropView, size=320), _pack]
train_dataloader.dataset.pipeline = [dict(type=TwoViews, pipeline=_views)]
