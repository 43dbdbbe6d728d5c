"""ToCo on Pascal VOC 2012: the class maps of train, and the masks of val without labels."""

from mmengine.config import read_base

with read_base():
    from ..afa.voc_pipeline import *
report.title = 'ToCo on Pascal VOC 2012'
