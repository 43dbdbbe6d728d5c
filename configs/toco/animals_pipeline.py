"""ToCo on the animals of Pascal VOC 2012, on two cores, scored as configs/voc_animals/ is.

    wsss run toco/animals_pipeline --data-root VOC2012

Features are those of configs/voc_animals/pipeline.py, whose work dir it shares.
"""

from mmengine.config import read_base

with read_base():
    from ..voc_animals.pipeline import *
trainings = dict(toco='animals.py')
pipeline = dict(
    features=features,
    toco=dict(train, config='toco'),
    toco_maps=dict(maps, model='toco'),
    toco_maps_score=dict(score, seeds='toco_maps'),
    toco_plain=dict(segmentation.plain, model='toco'),
    toco_plain_score=dict(segmentation.plain_score, labels='toco_plain'),
    toco_val=dict(segmentation.prediction, model='toco'),
    toco_val_score=dict(segmentation.prediction_score, labels='toco_val'),
)
