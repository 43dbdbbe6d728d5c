"""Figure 8 of ACR on Pascal VOC 2012: from which block on gradients are averaged.

Shares of errors are those of the released evaluation. The paper names SEAM for them, whose
own definition is convention='seam'.
"""

from mmengine.config import read_base
from wsss_plugins import seeds, stages

with read_base():
    from .voc_pipeline import *
figure8 = dict(
    acr,
    type=stages.SeedSweepStage,
    head=dict(type=seeds.ACRGradientMap, affinity=True),
    dataset='masks',
    argument='start_block',
    values=list(range(12)),
    convention='acr',
)
pipeline = dict(classifier=train, figure8=figure8)
