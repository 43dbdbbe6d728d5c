"""Checks of an experiment before any training.

They find files of initial weights that do not exist, trainings that cannot be built, and
seed heads that refuse the networks or fail on them.
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
    """Raises errors that a stage would otherwise raise only after days of training.

    Args:
        stages: The stages that are to run.

    Raises:
        CheckpointError: A file of weights does not exist; the message names the stage
            and the file.
        ConfigError: A training cannot be built, or a seed head refuses its network or
            fails; the message names the stage.
    """
    for stage in stages:
        if isinstance(stage, TrainStage):
            _refuse_missing_weights(stage)
    for name, reason in refusals(stages).items():
        raise ConfigError(f"stage '{name}': {reason}", token=name)


def refusals(stages: Iterable[Stage]) -> dict[str, str]:
    """Builds every training with random weights, and calls its seed heads on two images.

    Errors that occur only with trained weights are not found here.

    Args:
        stages: Stages that train models, and stages that make maps with these.

    Returns:
        Why a seed head cannot make maps of its model, by name of the head's stage.

    Raises:
        UserError: A training cannot be built.
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
