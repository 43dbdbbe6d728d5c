"""Figure 8 of eX-ViT on Pascal VOC 2012: how many of the last blocks to fuse at test."""

from mmengine.config import read_base

from wsss_plugins.stages import SeedSweepStage, TrainStage

with read_base():
    from .voc_pipeline import maps, masks

seed = 0
pipeline = [
    dict(type=TrainStage, name='classifier', config='voc.py'),
    dict(
        maps,
        type=SeedSweepStage,
        name='figure8',
        argument='fuse_blocks',
        values=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        dataset=masks,
    ),
]
