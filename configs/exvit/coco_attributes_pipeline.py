"""Table 7 of eX-ViT on MS COCO 2014: channels c and number S of the attributes.

The rows of voc_attributes_pipeline.py.
"""

from mmengine.config import read_base

with read_base():
    from .coco_pipeline import datasets, trainings
    from .voc_attributes_pipeline import pipeline
