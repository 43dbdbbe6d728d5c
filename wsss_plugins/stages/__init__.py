"""The steps of a pipeline, from a classifier to the scores of its segmentor."""

from wsss_plugins.stages.agreed import AgreedLabelStage
from wsss_plugins.stages.confident import ConfidentLabelStage
from wsss_plugins.stages.evaluate import EvaluateLabelStage, EvaluateSeedStage
from wsss_plugins.stages.evaluate_affinity import EvaluateAffinityStage
from wsss_plugins.stages.evaluate_instance_labels import EvaluateInstanceLabelStage
from wsss_plugins.stages.evaluate_instances import EvaluateInstanceStage
from wsss_plugins.stages.explanations import (
    InsertionDeletionTestStage,
    PerturbationTestStage,
    SegmentationTestStage,
)
from wsss_plugins.stages.features import FeatureStage
from wsss_plugins.stages.folder import FolderStage
from wsss_plugins.stages.instances import InstanceLabelStage
from wsss_plugins.stages.interchange import (
    ExportSeedStage,
    ImportLabelStage,
    ImportSeedStage,
)
from wsss_plugins.stages.predict import PredictStage
from wsss_plugins.stages.refine import RefineStage
from wsss_plugins.stages.seed import SeedStage
from wsss_plugins.stages.seed_sweep import SeedSweepStage
from wsss_plugins.stages.segment_vote import SegmentVoteStage
from wsss_plugins.stages.submission import SubmissionStage
from wsss_plugins.stages.train import TrainStage, build_runner, load_trained

__all__ = [
    'AgreedLabelStage',
    'ConfidentLabelStage',
    'EvaluateAffinityStage',
    'EvaluateInstanceLabelStage',
    'EvaluateInstanceStage',
    'EvaluateLabelStage',
    'EvaluateSeedStage',
    'ExportSeedStage',
    'FeatureStage',
    'FolderStage',
    'ImportLabelStage',
    'ImportSeedStage',
    'InsertionDeletionTestStage',
    'InstanceLabelStage',
    'PerturbationTestStage',
    'PredictStage',
    'RefineStage',
    'SeedStage',
    'SeedSweepStage',
    'SegmentVoteStage',
    'SegmentationTestStage',
    'SubmissionStage',
    'TrainStage',
    'build_runner',
    'load_trained',
]
