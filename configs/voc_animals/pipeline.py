"""From image-level labels to masks on the animals of Pascal VOC 2012, on two cores."""

from mmengine.config import read_base
from wsss_plugins import seeds, stages

with read_base():
    from .._base_.frozen_data import network
    from .._base_.road.stages import *
    from .._base_.road.voc import datasets
datasets.images.split = 'train'
trainings = dict(classifier='cam.py', hybrid='hybrid.py')
features = dict(
    type=stages.FeatureStage,
    network=network,
    dataset=[datasets.images, datasets.val_images],
)
kept = dict(features='features')
cam = dict(look, **kept, head=dict(type=seeds.CAM), max_side=448, half=True)
pipeline = dict(
    features=features,
    classifier=dict(train, **kept),
    cam=cam,
    cam_score=dict(score, seeds='cam'),
    hybrid=dict(train, config='hybrid', **kept),
    hcam=dict(cam, model='hybrid'),
    hcam_score=dict(score, seeds='hcam'),
    gradient=dict(
        cam, model='hybrid', head=dict(type=seeds.ACRGradientMap, start_block=-2)
    ),
    gradient_score=dict(score, seeds='gradient'),
)
