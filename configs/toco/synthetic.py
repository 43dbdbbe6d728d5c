"""ToCo on the synthetic data set, from scratch."""

from mmengine.config import read_base
from wsss_plugins import classifiers, segmentors
from wsss_plugins.datasets import DrawNumber

with read_base():
    from ..afa.synthetic import *
for _key in ('walk_after', 'radius'):
    model.pop(_key)
model.update(
    type=classifiers.ToCoClassifier,
    aux_block=-2,
    crops=4,
    crop_size=24,
    contrast_head=dict(hidden=256, bottleneck=64, out=128),
    energy=0.0,
)
model.decode_head = dict(
    type=segmentors.LargeFOVHead,
    form='toco',
    in_channels=128,
    channels=128,
    dilation=2,
    num_classes=num_classes + 1,
)
*_views, _pack = train_dataloader.dataset.pipeline
train_dataloader.dataset.pipeline = [*_views, dict(type=DrawNumber), _pack]
