"""Stages of a pipeline, the pipeline itself, and the Runner that trains."""

from wsss_plugins.stages.base import Stage
from wsss_plugins.stages.confident import ConfidentLabelStage
from wsss_plugins.stages.evaluate import EvaluateLabelStage, EvaluateSeedStage
from wsss_plugins.stages.evaluate_affinity import EvaluateAffinityStage
from wsss_plugins.stages.evaluate_instances import EvaluateInstanceStage
from wsss_plugins.stages.folder import FolderStage
from wsss_plugins.stages.insertion_deletion_test import InsertionDeletionTestStage
from wsss_plugins.stages.interchange import (
    ExportSeedStage,
    ImportLabelStage,
    ImportSeedStage,
)
from wsss_plugins.stages.perturbation_test import PerturbationTestStage
from wsss_plugins.stages.pipeline import Pipeline
from wsss_plugins.stages.predict import PredictStage
from wsss_plugins.stages.record import StageRecord
from wsss_plugins.stages.refine import RefineStage
from wsss_plugins.stages.report import ReportStage
from wsss_plugins.stages.runner import (
    EpochSeedHook,
    ProgressHook,
    ResumePointHook,
    WSSSRunner,
)
from wsss_plugins.stages.seed import SeedStage
from wsss_plugins.stages.seed_sweep import SeedSweepStage
from wsss_plugins.stages.segmentation_test import SegmentationTestStage
from wsss_plugins.stages.submission import SubmissionStage
from wsss_plugins.stages.train import TrainStage, build_runner, load_trained

__all__ = [
    'ConfidentLabelStage',
    'EpochSeedHook',
    'EvaluateAffinityStage',
    'EvaluateInstanceStage',
    'EvaluateLabelStage',
    'EvaluateSeedStage',
    'ExportSeedStage',
    'FolderStage',
    'ImportLabelStage',
    'ImportSeedStage',
    'InsertionDeletionTestStage',
    'PerturbationTestStage',
    'Pipeline',
    'PredictStage',
    'ProgressHook',
    'RefineStage',
    'ReportStage',
    'ResumePointHook',
    'SeedStage',
    'SeedSweepStage',
    'SegmentationTestStage',
    'Stage',
    'StageRecord',
    'SubmissionStage',
    'TrainStage',
    'WSSSRunner',
    'build_runner',
    'load_trained',
]
