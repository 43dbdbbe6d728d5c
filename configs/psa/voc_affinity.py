"""AffinityNet of the ReScience paper on Pascal VOC 2012: on the stem of the hybrid ViT.

The pipeline gives it the trained classifier and the confident labels. Alone:

    tools/train.py configs/psa/voc_affinity.py --cfg-options \
        model.backbone.pretrained=CLASSIFIER/weights.safetensors \
        train_dataloader.dataset.label_maps=CONFIDENT/labels
"""

from mmcv.transforms import RandomFlip, Resize
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
)
from wsss_plugins.losses import AffinityLoss

with read_base():
    from .._base_.voc_data import data_root

model = dict(
    type=AffinityNet,
    backbone=dict(
        type=TransformerStem,
        name='vit_base_r50_s16_384',
        pretrained=True,  # of timm; the pipeline puts the trained classifier here
    ),
    in_index=(2,),  # stride 16, upsampled to the grid of stride 8
    in_channels=(1024,),
    channels=(512,),
    groups=32,
    stride=8,
    radius=5,
    loss=dict(type=AffinityLoss, eps=1e-6),
    mean=(127.5, 127.5, 127.5),
    std=(127.5, 127.5, 127.5),
)

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=VOC12,
        data_root=data_root,
        split='train_aug',
        label_maps='confident_labels',  # the pipeline puts its confident labels here
        pipeline=[
            dict(type=LoadImage),
            dict(type=LoadConfidentScores),
            dict(type=Resize, scale=(448, 448), keep_ratio=False),
            dict(type=ColorJitter),
            dict(type=RandomFlip, prob=0.5),
            dict(type=PoolConfidentLabels, stride=8),
            dict(type=PackSegInputs),
        ],
    ),
)

max_epochs = 7
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
