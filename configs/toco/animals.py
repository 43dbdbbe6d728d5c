"""ToCo on the frozen maps of configs/voc_animals/: a hybrid transformer and a light decoder.

Crops are of whole cells of the kept features. The energy loss is left out: it takes the
square of the number of pixels.
"""

from mmengine.config import read_base
from wsss_plugins import classifiers
from wsss_plugins.datasets import DrawNumber

with read_base():
    from ..afa.animals import *
model.pop('walk_after')
model.update(
    type=classifiers.ToCoClassifier,
    aux_block=-2,
    contrast_head=dict(hidden=512, bottleneck=128, out=256),
    energy=0.0,
)
_load, _photo, _pack = train_dataloader.dataset.pipeline
_draw = dict(type=DrawNumber)
train_dataloader.dataset.pipeline = [_load, _photo, _draw, _pack]
