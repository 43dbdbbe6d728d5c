"""Figure 8 of eX-ViT on the synthetic set: how many of the last blocks to fuse at test.

tools/run_pipeline.py configs/exvit/synthetic_figure8_pipeline.py
"""

from mmengine.config import read_base

from wsss_plugins.datasets import VOC12
from wsss_plugins.seeds import AttributeCAM
from wsss_plugins.stages import SeedSweepStage, TrainStage

with read_base():
    from .._base_.synthetic_data import data_root

seed = 0
masks = dict(
    type=VOC12,
    data_root=data_root,
    split='train',
    label_maps='SegmentationClass',
    test_mode=True,
)

pipeline = [
    dict(type=TrainStage, name='classifier', config='synthetic.py'),
    dict(
        type=SeedSweepStage,
        name='figure8',
        model='classifier',
        head=dict(type=AttributeCAM),
        argument='fuse_blocks',
        values=[1, 2, 3, 4],  # of 4 blocks; the model is trained with 3
        dataset=masks,
        batch_size=50,
    ),
]
