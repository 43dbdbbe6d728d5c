"""DeepLabV2 with ResNet-101 on pseudo labels of Pascal VOC 2012, from COCO's weights.

These weights are stronger supervision than ImageNet's: they were trained on the pixels of
MS COCO, whose 80 classes contain those of VOC. Say so beside every number; with
image-level labels alone use voc_r101.py.
"""

from mmengine.config import read_base

with read_base():
    from .voc_r101 import *
model.backbone.update(
    # The port's conversion of DeepLab's init.caffemodel: strides in the first 1x1.
    pretrained='data/pretrained/deeplabv1_resnet101-coco.pth',
    style='caffe',
    contract_dilation=False,
)
pretrained_supervision = 'ImageNet labels + COCO pixels'
_caffe = dict(mean=[104.008, 116.669, 122.675], std=[1.0, 1.0, 1.0])
model.data_preprocessor.update(_caffe, rgb_to_bgr=True)  # Caffe's order and range
