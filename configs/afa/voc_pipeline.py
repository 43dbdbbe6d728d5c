"""AFA on Pascal VOC 2012: the class maps of train, and the masks of val without labels."""

from mmengine.config import read_base

with read_base():
    from .._base_.road.single_stage import *
    from .._base_.road.voc import datasets
trainings = dict(single='voc.py')
single.maps.update(scales=(0.5, 1.0, 1.5), batch_size=4, dataset='train_images')
single.prediction.scales = (0.75, 1.0, 1.25)
report.title = 'AFA on Pascal VOC 2012'
pipeline = [single, dict(report=report)]
