"""MCTformer V2 trained with ACR on the synthetic data set, from scratch."""

from mmengine.config import read_base
from wsss_plugins import classifiers

with read_base():
    from .synthetic import *
    from ..acr.synthetic import custom_hooks
    from ..acr.synthetic import model as _acr
model.update(type=classifiers.ACRClassifier, consistency=_acr.consistency)
