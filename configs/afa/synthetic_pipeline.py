"""AFA on the synthetic set: masks from image-level labels in one training."""

from mmengine.config import read_base

with read_base():
    from .._base_.road.single_stage import *
    from .._base_.road.synthetic import datasets
trainings = dict(single='synthetic.py')
single.maps.batch_size = 50
report.title = 'AFA on the synthetic set'
pipeline = [single, dict(report=report)]
