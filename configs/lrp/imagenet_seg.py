"""Table 3 of the ReScience paper: explanations as segmentations on ImageNet-Segmentation.

    wsss run lrp/imagenet_seg --data-root FOLDER_OF_gtsegs_ijcv.mat

Published for ViT-B/16, in percent (pixel accuracy, mAP, mIoU): rollout 73.54, 84.76, 55.42;
raw attention 67.84, 80.24, 46.37; GradCAM 64.44, 71.60, 40.82; LRP 51.09, 55.68, 32.89;
partial LRP 76.31, 84.67, 57.94; transformer attribution 79.70, 86.03, 61.95.
"""

from mmengine.config import read_base
from wsss_plugins import stages
from wsss_plugins.datasets import ImageNetSeg

with read_base():
    from .._base_.imagenet_classifiers import tests
data_root = 'data/imagenet_seg'
images = dict(type=ImageNetSeg, data_root=data_root, label_maps='gt', verify_count=True)
datasets = dict(images=images)
pipeline = {n: dict(t, type=stages.SegmentationTestStage) for n, t in tests.items()}
