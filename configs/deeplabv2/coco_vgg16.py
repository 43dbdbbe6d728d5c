"""DeepLab-LargeFOV with VGG16 on pseudo labels of MS COCO 2014, from ImageNet's weights."""

from mmengine.config import read_base

with read_base():
    from .voc_vgg16 import *
    from .._base_.coco_segmentation import *
model.decode_head.num_classes = num_classes

# about 100,000 steps of 10 images over 82,081
max_epochs = train_cfg.max_epochs = 12
