"""Figure 8 of ACR on the synthetic set: from which block on gradients are averaged."""

from mmengine.config import read_base
from wsss_plugins import stages

with read_base():
    from .synthetic_psa_pipeline import *
figure8 = dict(
    acr,
    type=stages.SeedSweepStage,
    dataset='masks',
    argument='start_block',
    values=[0, 1, 2, 3],
    convention='acr',
)
pipeline = dict(classifier=train, figure8=figure8)
