"""ToCo on the synthetic set: masks from image-level labels in one training."""

from mmengine.config import read_base

with read_base():
    from ..afa.synthetic_pipeline import *
report.title = 'ToCo on the synthetic set'
