"""ACR on Pascal VOC 2012 with the settings of the released code: voc_pipeline.py else.

Its confident labels come from alpha 1 and 12, not from PSA's 4 and 32.
"""

from mmengine.config import read_base

with read_base():
    from .voc_pipeline import *
trainings.update(classifier='voc_released.py')
pseudo_labels.confident.update(alpha_low=1, alpha_high=12)
report.update(title='ACR on Pascal VOC 2012, as released')
pipeline = [seeding, pseudo_labels, segmentation, report]
