"""What can be known of an experiment before any training.

That the first weights are there, that every part of each training can be built, and which
seed heads have nothing to say of the networks, or fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from wsss_plugins.backbones.named_weights import weight_files
from wsss_plugins.engine.stage import Stage
from wsss_plugins.errors import CheckpointError, ConfigError
from wsss_plugins.experiment.rehearsal import Rehearsals, untrained
from wsss_plugins.experiment.try_head import head_refusal
from wsss_plugins.seeds import SeedHead
from wsss_plugins.stages.explanations.explanation import ExplanationStage
from wsss_plugins.stages.seed import SeedStage
from wsss_plugins.stages.seed_sweep import SeedSweepStage
from wsss_plugins.stages.train import TrainStage

__all__ = ['refusals', 'refuse_mistakes', 'untrained']


def refuse_mistakes(stages: Sequence[Stage]) -> None:
    """Refuses what a later stage would: days of training may come before it.

    Files of weights that are not there, trainings that cannot be built, and seed heads
    that refuse their network or fail.

    Args:
        stages: Those that are to run.

    Raises:
        CheckpointError: Names the stage and the file.
        ConfigError: Names the stage and says what is wrong.
    """
    for stage in stages:
        if isinstance(stage, TrainStage):
            _refuse_missing_weights(stage)
    for name, reason in refusals(stages).items():
        raise ConfigError(f"stage '{name}': {reason}", token=name)


def refusals(stages: Iterable[Stage]) -> dict[str, str]:
    """Rehearses every training with random weights; tries the seed heads on two images.

    Errors that need trained weights are left to the run.

    Args:
        stages: Stages that train, and stages that make maps with what they trained.

    Returns:
        Why a head makes no maps of its model, by the name of the stage of maps.

    Raises:
        UserError: A training that cannot be.
    """
    stages = list(stages)
    found: dict[str, str] = {}
    rehearse = Rehearsals()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for training in stages:
            if not isinstance(training, TrainStage):
                continue
            model = rehearse(training)
            for stage in stages:
                if getattr(stage, 'model', None) != training.name:
                    continue
                for head in _heads_of(stage):
                    reason = head_refusal(head, model)
                    if reason is not None:
                        found.setdefault(stage.name, reason)
    return found


def _heads_of(stage: Stage) -> Iterator[SeedHead]:
    """The seed heads that a stage runs."""
    if isinstance(stage, SeedStage):
        yield stage.head
    elif isinstance(stage, SeedSweepStage):
        yield from (maker.head for maker in stage.makers)
    elif isinstance(stage, ExplanationStage):
        yield from stage.methods.values()


def _refuse_missing_weights(stage: TrainStage) -> None:
    for part, path in weight_files(stage.cfg):
        given = stage.backbone is not None and part.split('.')[0] == 'backbone'
        if not given and not path.is_file():
            raise CheckpointError(
                f"stage '{stage.name}': the weights {path}, which its {part} begins "
                'with, are not there: put the file in that place, or name another in '
                'the config'
            )
