"""Stages that test explanations: segmentation, perturbation, insertion and deletion."""

from wsss_plugins.stages.explanations.insertion_deletion import (
    InsertionDeletionTestStage,
)
from wsss_plugins.stages.explanations.perturbation import PerturbationTestStage
from wsss_plugins.stages.explanations.segmentation import SegmentationTestStage

__all__ = [
    'InsertionDeletionTestStage',
    'PerturbationTestStage',
    'SegmentationTestStage',
]
