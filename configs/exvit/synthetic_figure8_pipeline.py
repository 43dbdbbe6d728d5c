"""Figure 8 of eX-ViT on the synthetic set: how many of the last blocks to fuse at test."""

from mmengine.config import read_base
from wsss_plugins import stages

with read_base():
    from .._base_.road.exvit import train
    from .synthetic_pipeline import datasets, maps, trainings
sweep = dict(maps, type=stages.SeedSweepStage, dataset='masks', argument='fuse_blocks')
sweep.update(convention='seam')  # whose error rates the figure shows
# Of 4 blocks; the model is trained with 3.
pipeline = dict(classifier=train, figure8=dict(sweep, values=[1, 2, 3, 4]))
