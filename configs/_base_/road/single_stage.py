"""A single-stage model, its class maps of the training images, and its masks of val.

Reads the data sets 'images', 'masks' and 'val_masks' and the training 'single'.
"""

from mmengine.config import read_base
from wsss_plugins import seeds

with read_base():
    from .stages import look, maps_report, score, segmentation, train
single = dict(
    single=dict(train, config='single'),
    maps=dict(look, model='single', head=dict(type=seeds.CAM)),
    maps_score=dict(score, seeds='maps'),
    prediction=dict(segmentation.prediction, model='single'),
    prediction_score=segmentation.prediction_score,
)
report = dict(
    maps_report,
    seeds=['maps_score'],
    predictions='prediction_score',
    prediction_dataset='val_masks',
)
