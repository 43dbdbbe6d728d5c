"""DeepLab-LargeFOV with ResNet38 on pseudo labels of MS COCO 2014, as on VOC 2012.

The segmentor of tables 3 and 7 of eX-ViT.
"""

from mmengine.config import read_base

with read_base():
    from .voc_resnet38 import *
    from .._base_.coco_segmentation import *
    from .voc_resnet38 import prediction
model.decode_head.num_classes = num_classes

# about 100,000 steps of 10 images over 82,081
max_epochs = train_cfg.max_epochs = 12
