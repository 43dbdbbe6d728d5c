"""ACR on MS COCO 2014: tables 1 and 11, from image-level labels to segmentation.

The road is _base_/road/acr.py. The report shows figures 7 and 14.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.road.acr import *
    from .._base_.road.coco import datasets
trainings = dict(
    classifier='coco.py',
    affinity='../psa/coco_affinity_resnet38.py',
    segmentor='../deeplabv2/coco_r101.py',
)
report.update(title='ACR on MS COCO 2014')
pipeline = [seeding, pseudo_labels, segmentation, report]
