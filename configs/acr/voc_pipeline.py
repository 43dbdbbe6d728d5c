"""ACR on Pascal VOC 2012: tables 2, 3 and 10, from image-level labels to segmentation.

The road is _base_/road/acr.py. The report shows figures 6, 7, 11 and 14.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.road.acr import *
    from .._base_.road.voc import datasets
trainings = dict(
    classifier='voc.py',
    affinity='../psa/voc_affinity_resnet38.py',
    segmentor='../deeplabv2/voc_r101.py',
)
report.update(title='ACR on Pascal VOC 2012')
pipeline = [seeding, pseudo_labels, segmentation, report]
