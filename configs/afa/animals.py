"""AFA on the frozen maps of configs/voc_animals/: a hybrid transformer and a light decoder.

Class maps are of one scale, as kept features are. The decoder reads the frozen maps and the
tokens between them.
"""

from mmengine.config import read_base
from wsss_plugins import classifiers, segmentors
from wsss_plugins.datasets import LoadPhoto

with read_base():
    from ..voc_animals.hybrid import *
model.update(
    type=classifiers.AFAClassifier,
    scales=(1.0,),
    drop_patches=0.0,
    seg_after=300,
    walk_after=900,
)
model.head = dict(type=classifiers.MaxTokenHead, num_classes=num_classes)
model.decode_head = dict(
    type=segmentors.GlobalContextHead,
    in_channels=(40, 112, 192, 1280),
    in_index=(0, 1, 3, 2),
    channels=128,
    num_classes=num_classes + 1,
    norm_cfg=dict(type='GN', num_groups=16),
)
_load, _pack = train_dataloader.dataset.pipeline
train_dataloader.dataset.pipeline = [_load, dict(type=LoadPhoto, stride=2), _pack]
max_epochs = 24
train_cfg.update(max_epochs=max_epochs)
