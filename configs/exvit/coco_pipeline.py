"""eX-ViT on MS COCO 2014: table 3, from image-level labels to segmentation.

The road is _base_/road/exvit.py. The report shows figure 6.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.road.coco import datasets
    from .._base_.road.exvit import *
trainings = dict(
    classifier='coco.py',
    affinity='../psa/coco_affinity_resnet38.py',
    resnet38='../deeplabv2/coco_resnet38.py',
    r101='../deeplabv2/coco_r101.py',
)
report.update(title='eX-ViT on MS COCO 2014')
pipeline = [seeding, label_crf, pseudo_labels, resnet38, r101, report]
