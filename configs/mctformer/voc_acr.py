"""MCTformer V2 trained with ACR on Pascal VOC 2012, for table 6 of ACR."""

from mmengine.config import read_base
from wsss_plugins import classifiers

with read_base():
    from ..acr.voc import custom_hooks
    from ..acr.voc import model as _acr
    from .voc import *
# The paper says that ACR joins the training of MCTformer and not with which weights:
# these are its own.
model.update(type=classifiers.ACRClassifier, consistency=_acr.consistency)
