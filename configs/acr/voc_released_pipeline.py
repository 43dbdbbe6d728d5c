"""ACR on Pascal VOC 2012 with the settings of the released code: voc_pipeline.py else.

Its confident labels come from alpha 1 and 12, not from PSA's 4 and 32.
"""

from mmengine.config import read_base

with read_base():
    from .voc_pipeline import *

pipeline[0].config = 'voc_released.py'
pipeline[5].update(alpha_low=1, alpha_high=12)
pipeline[-1].title = 'ACR on Pascal VOC 2012, as released'
