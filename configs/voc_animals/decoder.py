"""A light decoder on the frozen maps of strides 8, 16 and 32; no pixel is decoded."""

from mmengine.config import read_base
from mmseg.datasets.transforms import PackSegInputs
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.segmentors import EncoderDecoder
from wsss_plugins.datasets import LoadLabelMap
from wsss_plugins.segmentors import GlobalContextHead

with read_base():
    from .._base_.adamw_cosine import *
    from .._base_.frozen_data import network, train_dataloader, view
model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(type=SegDataPreProcessor, size_divisor=1),
    backbone=network,
    decode_head=dict(
        type=GlobalContextHead,
        in_channels=(40, 112, 1280),
        in_index=(0, 1, 2),
        channels=128,
        num_classes=21,
        dropout_ratio=0.1,
        norm_cfg=dict(type='GN', num_groups=16),
        # Without it, a quarter of the objects' pixels became background.
        loss_decode=dict(type=CrossEntropyLoss, class_weight=[0.5] + [1.0] * 20),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
train_dataloader.dataset.update(
    label_maps='pseudo_labels',  # the pipeline puts the folder of its pseudo labels here
    pipeline=[
        dict(type=LoadLabelMap),
        dict(view, label_stride=4),
        dict(type=PackSegInputs),
    ],
)
val_cfg = None  # EvaluateLabelStage scores the predictions
