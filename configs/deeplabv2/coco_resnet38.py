"""DeepLab-LargeFOV with ResNet38 on pseudo labels of MS COCO 2014, from ImageNet's weights."""

from mmengine.config import read_base

with read_base():
    from .voc_resnet38 import *
    from .._base_.coco_segmentation import *
    from .voc_resnet38 import prediction

model.decode_head.num_classes = num_classes

max_epochs = 12  # about 100,000 steps of 10 images over 82,081
train_cfg.max_epochs = max_epochs
[_rate] = param_scheduler
_rate.end = max_epochs
