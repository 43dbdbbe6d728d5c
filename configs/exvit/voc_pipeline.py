"""eX-ViT on Pascal VOC 2012: tables 1 and 2, from image-level labels to segmentation.

The road is _base_/road/exvit.py. The report shows figures 4 and 5.
wsss test writes the archive of the test server.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.road.exvit import *
    from .._base_.road.voc import datasets
trainings = dict(
    classifier='voc.py',
    affinity='../psa/voc_affinity_resnet38.py',
    resnet38='../deeplabv2/voc_resnet38.py',
    r101='../deeplabv2/voc_r101.py',
)
report.update(title='eX-ViT on Pascal VOC 2012')
pipeline = [seeding, label_crf, pseudo_labels, resnet38, r101, report]
