"""AFA on the synthetic data set, from scratch."""

from mmengine.config import read_base
from wsss_plugins import classifiers, segmentors

with read_base():
    from .._base_.synthetic_classifier import *
model.update(
    type=classifiers.AFAClassifier,
    drop_patches=0.0,
    radius=3,
    seg_after=250,
    walk_after=500,
)
model.head = dict(type=classifiers.MaxTokenHead, num_classes=num_classes)
model.decode_head = dict(
    type=segmentors.GlobalContextHead,
    in_channels=(128,),
    in_index=(0,),
    channels=64,
    num_classes=num_classes + 1,
    norm_cfg=dict(type='GN', num_groups=16),
)
