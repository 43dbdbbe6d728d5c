"""AFA on the animals of Pascal VOC 2012, on two cores, scored as configs/voc_animals/ is.

    wsss run afa/animals_pipeline --data-root VOC2012

Features are those of configs/voc_animals/pipeline.py, whose work dir it shares.
"""

from mmengine.config import read_base

with read_base():
    from ..voc_animals.pipeline import *
trainings = dict(afa='animals.py')
pipeline = dict(
    features=features,
    afa=dict(train, config='afa'),
    afa_maps=dict(maps, model='afa'),
    afa_maps_score=dict(score, seeds='afa_maps'),
    afa_plain=dict(segmentation.plain, model='afa'),
    afa_plain_score=dict(segmentation.plain_score, labels='afa_plain'),
    afa_val=dict(segmentation.prediction, model='afa'),
    afa_val_score=dict(segmentation.prediction_score, labels='afa_val'),
)
