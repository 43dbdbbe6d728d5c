"""DeepLab-LargeFOV with VGG16 on pseudo labels of Pascal VOC 2012, from ImageNet's weights."""

from mmengine.config import read_base
from mmseg.models.decode_heads import FCNHead
from wsss_plugins import backbones

with read_base():
    from .._base_.voc_segmentation import *
    from .._base_.deeplab_segmentation import *
model.backbone = dict(
    type=backbones.VGG16LargeFOV,
    # torchvision's vgg16-*.pth or timm's vgg16, wherever you keep it.
    pretrained='data/pretrained/vgg16.pth',
)
pretrained_supervision = 'ImageNet labels'
model.decode_head.update(
    type=FCNHead,  # fc8: one 1x1 convolution
    in_channels=1024,
    channels=1024,
    in_index=0,
    num_convs=0,
    kernel_size=1,
    concat_input=False,
    dropout_ratio=0.0,  # the backbone has its own
    num_classes=num_classes,
)
optim_wrapper.optimizer.lr = 1e-3
