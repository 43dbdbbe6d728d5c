"""Metrics: how good label maps, seeds and image-level predictions are."""

from wsss_plugins.metrics.confusion import (
    SegmentationScores,
    class_counts,
    class_mean,
    confusion_matrix,
    false_negative_rate,
    false_positive_rate,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)
from wsss_plugins.metrics.multilabel_ap import MultiLabelAP, average_precision
from wsss_plugins.metrics.seed_iou import SeedIoU, SweepResult

__all__ = [
    'MultiLabelAP',
    'SeedIoU',
    'SegmentationScores',
    'SweepResult',
    'average_precision',
    'class_counts',
    'class_mean',
    'confusion_matrix',
    'false_negative_rate',
    'false_positive_rate',
    'iou_per_class',
    'mean_iou',
    'pixel_accuracy',
]
