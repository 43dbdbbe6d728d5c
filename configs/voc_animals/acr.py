"""ACR on the frozen maps: the hybrid sees each photo and its mirror image."""

from mmengine.config import read_base
from wsss_plugins import classifiers, losses

with read_base():
    from .hybrid import *
model.update(
    type=classifiers.ACRClassifier,
    consistency=dict(
        type=losses.AttentionConsistencyLoss,
        activation_weight=100.0,
        affinity_weight=100.0,
    ),
    drop_patches=0.0,
)
