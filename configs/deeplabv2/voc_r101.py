"""DeepLabV2 with ResNet-101 on pseudo labels of Pascal VOC 2012, from ImageNet's weights.

The segmentor of tables 3 and 10 of ACR.
"""

from mmengine.config import read_base
from wsss_plugins import segmentors

with read_base():
    from .._base_.voc_segmentation import *
    from .._base_.deeplab_segmentation import *
model.backbone = dict(
    type=segmentors.DeepLabResNet,
    depth=101,
    strides=(1, 2, 1, 1),  # output stride 8
    dilations=(1, 1, 2, 4),
    out_indices=(3,),
    norm_eval=True,  # statistics of ImageNet, as DeepLab
    norm_cfg=dict(type='BN', requires_grad=False),
    # torchvision's weights were trained with strides in the 3x3 convolutions.
    style='pytorch',
    contract_dilation=True,
    # ImageNet in torchvision's names: resnet101-*.pth, wherever you keep it.
    pretrained='data/pretrained/resnet101.pth',
)
pretrained_supervision = 'ImageNet labels'
model.decode_head.update(
    type=segmentors.DeepLabV2Head, in_channels=2048, in_index=0, num_classes=num_classes
)
