"""Figure 8 of eX-ViT on Pascal VOC 2012: how many of the last blocks to fuse at test."""

from mmengine.config import read_base
from wsss_plugins import stages

with read_base():
    from .._base_.road.exvit import maps, train
    from .voc_pipeline import datasets, trainings
sweep = dict(maps, type=stages.SeedSweepStage, dataset='masks', argument='fuse_blocks')
sweep.update(convention='seam')  # whose error rates the figure shows
pipeline = dict(classifier=train, figure8=dict(sweep, values=list(range(1, 13))))
