"""ACR classifier on the synthetic data set, from scratch: under two minutes on two cores."""

from mmengine.config import read_base
from wsss_plugins import classifiers, losses

with read_base():
    from .._base_.synthetic_classifier import *
model.update(
    type=classifiers.ACRClassifier,
    # From scratch, the paper's weights of 100 flatten the attention; see docs/methods.md.
    consistency=dict(
        type=losses.AttentionConsistencyLoss, activation_weight=0.1, affinity_weight=0.1
    ),
)
custom_hooks = [dict(type=classifiers.AttentionEntropyHook)]
