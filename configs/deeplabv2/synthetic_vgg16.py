"""DeepLab-LargeFOV with a narrow VGG16 on the synthetic data set, from scratch."""

from mmengine.config import read_base
from wsss_plugins import backbones

with read_base():
    from .synthetic import *
    from .voc_vgg16 import model as _wide
model.backbone = dict(
    type=backbones.VGG16LargeFOV,
    base_channels=16,
    fc_channels=64,
    dilation=3,  # an 8x8 grid has no room for a rate of 12
)
model.decode_head = dict(
    _wide.decode_head,
    in_channels=64,
    channels=64,
    num_classes=num_classes,
    loss_decode=model.decode_head.loss_decode,
)
optim_wrapper.optimizer.lr = 5e-4  # without batch norm 2e-3 learns more slowly
