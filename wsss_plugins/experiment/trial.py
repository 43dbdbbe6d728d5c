"""What can be known of networks before any is trained.

That their first weights are there, that they can be built, and which seed heads have
nothing to say of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from wsss_plugins.backbones.named_weights import weight_files
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.config import set_everywhere
from wsss_plugins.engine.stage import Stage
from wsss_plugins.errors import CheckpointError, ConfigError, DataError, UserError
from wsss_plugins.registry import MODELS, SCOPE, build_as
from wsss_plugins.stages.classes import fill_num_classes
from wsss_plugins.stages.seed import SeedStage
from wsss_plugins.stages.train import TrainStage

GRID = (3, 4)
"""Size of the tried image in strides of the backbone; small, and not square."""


def refuse_mistakes(stages: Sequence[Stage]) -> None:
    """Refuses what a later stage would: days of training may come before it.

    Files of weights that are not there, networks that cannot be built, and seed heads
    that refuse theirs.

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
    """Builds every network with random weights; tries the seed heads on one small image.

    Errors that need trained weights, and errors other than :class:`UserError`, are not
    reported here.

    Args:
        stages: Stages that train, and stages that make maps with what they trained.

    Returns:
        Why a head refuses its model, by the name of the stage of maps that cannot be.

    Raises:
        ConfigError: A network that cannot be built.
    """
    found: dict[str, str] = {}
    trained: dict[str, TrainStage] = {}
    heads: dict[str, list[SeedStage]] = {}
    for stage in stages:
        if isinstance(stage, TrainStage):
            trained[stage.name] = stage
        elif isinstance(stage, SeedStage):
            heads.setdefault(stage.model, []).append(stage)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, training in trained.items():
            if training.cfg.get('model') is None:
                raise ConfigError(
                    f"stage '{name}': its config has no 'model' to train", token=name
                )
            try:
                model = untrained(training.cfg)
            except UserError:
                raise
            except Exception as error:  # of another library's constructor
                what = ' '.join(f'{type(error).__name__}: {error}'.split())
                raise ConfigError(
                    f"stage '{name}': its network cannot be built, {what}", token=name
                ) from error
            for stage in heads.get(name, ()):
                reason = _refusal(stage, model)
                if reason is not None:
                    found[stage.name] = reason
    return found


def untrained(cfg: Mapping[str, Any]) -> nn.Module:
    """The model of a training config with random weights; nothing is fetched.

    Raises:
        ConfigError: The training config has an unknown name, key or value.
    """
    init_default_scope(SCOPE)
    model = copy.deepcopy(fill_num_classes(Config(dict(cfg))).to_dict()['model'])
    for key in ('pretrained', 'init_cfg'):
        set_everywhere(model, key, None)
    return build_as(MODELS, model, nn.Module).eval()


def _refuse_missing_weights(stage: TrainStage) -> None:
    for part, path in weight_files(stage.cfg):
        given = stage.backbone is not None and part.split('.')[0] == 'backbone'
        if not given and not path.is_file():
            raise CheckpointError(
                f"stage '{stage.name}': the weights {path}, which its {part} begins "
                'with, are not there: put the file in that place, or name another in '
                'the config'
            )


def _refusal(stage: SeedStage, model: nn.Module) -> str | None:
    """Why the head of a stage refuses a model; None when it does not."""
    if not isinstance(model, WSSSClassifier):
        return f'class maps are of a WSSSClassifier, and this is {type(model).__name__}'
    sides = [strides * model.backbone.stride for strides in GRID]
    labels = torch.zeros(1, model.num_classes)
    labels[0, 0] = 1
    try:
        stage.head(model, torch.rand(1, 3, *sides), labels)
    except (DataError, CheckpointError):
        return None
    except UserError as error:
        return ' '.join(str(error).split())
    except Exception:  # perhaps of so small an image: the run will say
        return None
    return None
