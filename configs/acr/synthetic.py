"""ACR classifier on the synthetic data set, from scratch: under two minutes on two cores."""

from mmengine.config import read_base

from wsss_plugins.classifiers import ACRClassifier, AttentionEntropyHook
from wsss_plugins.losses import AttentionConsistencyLoss

with read_base():
    from .._base_.synthetic_classifier import *

model.update(
    type=ACRClassifier,
    # From scratch, the paper's weights of 100 flatten the attention; see docs/methods.md.
    consistency=dict(
        type=AttentionConsistencyLoss, activation_weight=0.1, affinity_weight=0.1
    ),
)
custom_hooks = [dict(type=AttentionEntropyHook)]
