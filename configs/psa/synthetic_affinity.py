"""AffinityNet on the synthetic data set: a minute on two cores.

Images of 64 px have 8x8 cells of 8 px, too few for pairs of radius 5: the grid has a
stride of 2, and pairs may start at the border.
"""

from mmcv.transforms import RandomFlip
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import EpochBasedTrainLoop
from mmseg.datasets.transforms import PackSegInputs
from torch.optim import SGD

from wsss_plugins.affinity import AffinityNet
from wsss_plugins.backbones import TransformerStem
from wsss_plugins.datasets import (
    VOC12,
    ColorJitter,
    LoadConfidentScores,
    LoadImage,
    PoolConfidentLabels,
    RandomCropPad,
)
from wsss_plugins.losses import AffinityLoss

with read_base():
    from .._base_.synthetic_data import data_root

stride = 2

model = dict(
    type=AffinityNet,
    backbone=dict(
        type=TransformerStem,
        pretrained=None,  # the pipeline puts the trained classifier here
        stem='conv',
        img_size=64,
        patch_size=8,
        embed_dim=128,
        depth=4,
        num_heads=4,
        mlp_ratio=3,
    ),
    in_channels=(32, 64, 128),
    channels=(16, 16, 32),
    groups=8,
    stride=stride,
    border='irn',
    loss=dict(type=AffinityLoss),
)

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=VOC12,
        data_root=data_root,
        split='train',
        label_maps='confident_labels',  # the pipeline puts its confident labels here
        pipeline=[
            dict(type=LoadImage),
            dict(type=LoadConfidentScores),
            dict(type=ColorJitter),
            dict(type=RandomCropPad, size=64, seg_pad=0),  # no score in the padding
            dict(type=RandomFlip, prob=0.5),
            dict(type=PoolConfidentLabels, stride=stride),
            dict(type=PackSegInputs),
        ],
    ),
)

max_epochs = 3
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.1, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [
    dict(
        type=PolyLR,
        power=1.0,
        eta_min=0.0,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
