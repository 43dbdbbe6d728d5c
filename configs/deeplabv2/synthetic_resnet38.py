"""DeepLab-LargeFOV with a narrow ResNet38 on the synthetic data set, from scratch."""

from mmengine.config import read_base
from wsss_plugins import backbones

with read_base():
    from .synthetic import *
    from .voc_resnet38 import model as _wide
model.backbone = dict(
    type=backbones.WideResNet38,
    base_channels=4,
    frozen_stages=-1,
    norm_eval=False,  # there are no statistics to keep
)
model.decode_head = dict(
    _wide.decode_head,
    in_channels=256,
    channels=32,
    dilation=3,  # an 8x8 grid has no room for a rate of 12
    num_classes=num_classes,
    loss_decode=model.decode_head.loss_decode,
)
