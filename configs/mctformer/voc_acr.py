"""MCTformer V2 trained with ACR on Pascal VOC 2012 (ACR, table 6)."""

from mmengine.config import read_base

from wsss_plugins.classifiers import ACRClassifier, AttentionEntropyHook
from wsss_plugins.losses import AttentionConsistencyLoss

with read_base():
    from .voc import *

# The paper says that ACR joins the training of MCTformer and not with which weights:
# these are its own.
model.update(
    type=ACRClassifier,
    consistency=dict(
        type=AttentionConsistencyLoss, activation_weight=100.0, affinity_weight=100.0
    ),
)
custom_hooks = [dict(type=AttentionEntropyHook)]
