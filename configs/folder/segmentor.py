"""Segmentor of one's own photos: the classifier's transformer and two convolutions.

Its first weights are those of the trained classifier, so nothing else is fetched. There
is no batch normalisation: a handful of photos is enough for a step.
"""

from mmcv.transforms import RandomFlip
from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import EpochBasedTrainLoop
from mmseg.datasets.transforms import PackSegInputs, PhotoMetricDistortion
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.decode_heads import FCNHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.segmentors import EncoderDecoder
from torch.optim import AdamW

from wsss_plugins.backbones import PatchMaps, TimmViT
from wsss_plugins.datasets import LoadCrop

with read_base():
    from .._base_.folder_data import images, long_side

model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(
        type=SegDataPreProcessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=False,  # LoadCrop gives RGB
        size=(256, 256),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type=PatchMaps,
        backbone=dict(type=TimmViT, name='deit_small_patch16_224'),
        pretrained=None,  # the pipeline puts the trained classifier here
    ),
    decode_head=dict(
        type=FCNHead,
        in_channels=384,
        in_index=0,
        channels=128,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=None,  # as many as tags, and the background
        norm_cfg=dict(type='GN', num_groups=16),
        loss_decode=dict(type=CrossEntropyLoss, avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        images,
        label_maps='pseudo_labels',  # the pipeline puts the folder of its pseudo labels here
        pipeline=[
            dict(type=LoadCrop, size=256, low=256, high=long_side),
            dict(type=RandomFlip, prob=0.5),
            dict(type=PhotoMetricDistortion),
            dict(type=PackSegInputs),
        ],
    ),
)
val_dataloader = None  # EvaluateLabelStage scores the predictions where there are masks
val_evaluator = None

max_epochs = 40
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs)
val_cfg = None
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=5e-5, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10)}),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(
        type=PolyLR,
        power=0.9,
        eta_min=1e-6,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
