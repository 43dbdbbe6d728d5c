"""MCTformer V2 trained with ACR on the synthetic data set, from scratch."""

from mmengine.config import read_base

from wsss_plugins.classifiers import ACRClassifier, AttentionEntropyHook
from wsss_plugins.losses import AttentionConsistencyLoss

with read_base():
    from .synthetic import *

model.update(
    type=ACRClassifier,
    # The weights of ../acr/synthetic.py.
    consistency=dict(
        type=AttentionConsistencyLoss, activation_weight=0.1, affinity_weight=0.1
    ),
)
custom_hooks = [dict(type=AttentionEntropyHook)]
