"""Metrics of label maps, seeds, image-level predictions and explanations."""

from wsss_plugins.metrics.affinity import (
    AffinityContrast,
    AffinityScores,
    patch_labels,
)
from wsss_plugins.metrics.boundary import boundary_band, boundary_counts
from wsss_plugins.metrics.coco_ap import CocoAP
from wsss_plugins.metrics.confusion import (
    ClassCounts,
    class_counts,
    class_mean,
    confusion_matrix,
    false_negative_rate,
    false_positive_rate,
    frequency_weighted_iou,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
    save_confusion,
)
from wsss_plugins.metrics.conventions import (
    CONVENTIONS,
    DEFAULT_CONVENTION,
    OWN_CONVENTION,
    Convention,
    convention_of,
)
from wsss_plugins.metrics.detections import check_detections, detections_of_map
from wsss_plugins.metrics.explanation import (
    ExplanationScores,
    ExplanationSegmentation,
    f1_score,
    normalise_map,
    precision_recall,
    resize_map,
    segmentation_ap,
)
from wsss_plugins.metrics.insertion_deletion import (
    InsertionDeletion,
    InsertionDeletionScores,
    insertion_deletion_probabilities,
)
from wsss_plugins.metrics.label_errors import LabelErrors
from wsss_plugins.metrics.masking import area_under_curve, masked_logits, pixel_ranks
from wsss_plugins.metrics.mended_pixels import MendedPixels
from wsss_plugins.metrics.multilabel_ap import MultiLabelAP, average_precision
from wsss_plugins.metrics.perturbation import (
    Perturbation,
    PerturbationScores,
    perturbed_logits,
)
from wsss_plugins.metrics.rank_correlation import RankCorrelation, rank_correlation
from wsss_plugins.metrics.regions import class_regions
from wsss_plugins.metrics.scores import MEANS, PER_CLASS, SegmentationScores
from wsss_plugins.metrics.seed_iou import SeedIoU, SweepResult, usual_thresholds
from wsss_plugins.metrics.voc_ap import voc_average_precision

__all__ = [
    'CONVENTIONS',
    'DEFAULT_CONVENTION',
    'MEANS',
    'OWN_CONVENTION',
    'PER_CLASS',
    'AffinityContrast',
    'AffinityScores',
    'ClassCounts',
    'CocoAP',
    'Convention',
    'ExplanationScores',
    'ExplanationSegmentation',
    'InsertionDeletion',
    'InsertionDeletionScores',
    'LabelErrors',
    'MendedPixels',
    'MultiLabelAP',
    'Perturbation',
    'PerturbationScores',
    'RankCorrelation',
    'SeedIoU',
    'SegmentationScores',
    'SweepResult',
    'area_under_curve',
    'average_precision',
    'boundary_band',
    'boundary_counts',
    'check_detections',
    'class_counts',
    'class_mean',
    'class_regions',
    'confusion_matrix',
    'convention_of',
    'detections_of_map',
    'f1_score',
    'false_negative_rate',
    'false_positive_rate',
    'frequency_weighted_iou',
    'insertion_deletion_probabilities',
    'iou_per_class',
    'masked_logits',
    'mean_iou',
    'normalise_map',
    'patch_labels',
    'perturbed_logits',
    'pixel_accuracy',
    'pixel_ranks',
    'precision_recall',
    'rank_correlation',
    'resize_map',
    'save_confusion',
    'segmentation_ap',
    'usual_thresholds',
    'voc_average_precision',
]
