"""IRN on Pascal VOC 2012: semantic and instance pseudo labels of train, and a segmentor.

Labels are made of train_aug, for a segmentor, and measured on train.
"""

from mmengine.config import read_base
from wsss_plugins import seeds

with read_base():
    from .._base_.road.irn import instances, learnt, semantic
    from .._base_.road.stages import *
    from .._base_.road.voc import datasets
trainings = dict(
    classifier='voc_classifier.py',
    irn='voc.py',
    segmentor='../deeplabv2/voc_r101.py',
)
maps = dict(look, head=dict(type=seeds.CAM), scales=(1.0, 0.5, 1.5, 2.0), batch_size=4)
seeding = dict(classifier=train, maps=maps, maps_score=dict(score, seeds='maps'))
report.update(title='IRN on Pascal VOC 2012', seeds=['maps_score'])
pipeline = [seeding, learnt, semantic, instances, segmentation, dict(report=report)]
