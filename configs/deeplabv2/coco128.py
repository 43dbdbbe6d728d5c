"""DeepLabV2 with a small ResNet-18 on 128 real COCO photos, from scratch."""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import EpochBasedTrainLoop
from mmseg.models.backbones import ResNetV1c
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.segmentors import EncoderDecoder
from torch.optim import AdamW

from wsss_plugins.segmentors import DeepLabV2Head

with read_base():
    from .._base_.coco128_segmentation import *

model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(
        type=SegDataPreProcessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=False,  # LoadImage gives RGB
        size=(128, 128),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type=ResNetV1c,
        depth=18,
        stem_channels=24,
        base_channels=24,
        strides=(1, 2, 1, 1),  # output stride 8, as DeepLabV2
        dilations=(1, 1, 2, 4),
        out_indices=(3,),
        norm_cfg=dict(type='BN'),
        contract_dilation=True,
    ),
    decode_head=dict(
        type=DeepLabV2Head,
        in_channels=192,
        in_index=0,
        num_classes=num_classes,
        dilations=(1, 3, 6, 9),  # a 16x16 grid has no room for a rate of 24
        loss_decode=dict(type=CrossEntropyLoss, class_weight=[0.3] + [1.0] * 80),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

max_epochs = 60
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs)
val_cfg = None
optim_wrapper = dict(
    type=OptimWrapper, optimizer=dict(type=AdamW, lr=1e-3, weight_decay=0.05)
)
param_scheduler = [
    dict(
        type=PolyLR,
        power=0.9,
        eta_min=1e-5,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
