"""The upper bound: the light decoder of pipeline.py trained on the true masks.

The one config that learns from ground truth; its card says 'VOC12 pixels'. In the work dir
of pipeline.py it reads the features that are there.
"""

from mmengine.config import read_base

with read_base():
    from .pipeline import *
_on_masks = {
    'train_dataloader.dataset.label_maps': 'SegmentationClass',
    'train_dataloader.dataset.allow_ground_truth': True,
}
pipeline = dict(
    features=features,
    supervised=dict(segmentation.segmentor, label_maps=None, options=_on_masks),
    supervised_val=dict(segmentation.prediction, model='supervised'),
    supervised_score=dict(segmentation.prediction_score, labels='supervised_val'),
    supervised_plain=dict(segmentation.plain, model='supervised'),
    supervised_plain_score=dict(segmentation.plain_score, labels='supervised_plain'),
)
