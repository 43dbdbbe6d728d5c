"""DeepLabV2 with ResNet-101 on pseudo labels of Pascal VOC 2012."""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from mmseg.models.backbones import ResNet
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.segmentors import EncoderDecoder
from torch.optim import SGD

from wsss_plugins.segmentors import DeepLabV2Head

with read_base():
    from .._base_.voc_segmentation import *

model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(
        type=SegDataPreProcessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=False,  # LoadImage gives RGB
        size=(321, 321),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type=ResNet,
        depth=101,
        strides=(1, 2, 1, 1),  # output stride 8
        dilations=(1, 1, 2, 4),
        out_indices=(3,),
        norm_cfg=dict(type='BN'),
        norm_eval=True,  # statistics of ImageNet, as DeepLab
        style='caffe',  # stride on the first 1x1 convolution
        contract_dilation=True,
    ),
    decode_head=dict(
        type=DeepLabV2Head,
        in_channels=2048,
        in_index=0,
        num_classes=num_classes,
        loss_decode=dict(type=CrossEntropyLoss, avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

# Weights of ImageNet in torchvision's names: resnet101-*.pth, wherever you keep it.
pretrained = dict(backbone='data/pretrained/resnet101.pth')

max_epochs = 19  # 20,000 steps of 10 images over 10,582
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=1000)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={'decode_head': dict(lr_mult=10.0)}),
)
param_scheduler = [
    dict(
        type=PolyLR,
        power=0.9,
        eta_min=0.0,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
