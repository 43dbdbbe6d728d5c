"""Which seed heads say nothing of which classifiers, found out before any training."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.config import typed_nodes
from wsss_plugins.errors import CheckpointError, DataError, UserError
from wsss_plugins.registry import MODELS, SCOPE, build_as
from wsss_plugins.stages.classes import fill_num_classes
from wsss_plugins.stages.pipeline import Pipeline
from wsss_plugins.stages.seed import SeedStage

GRID = (3, 4)
"""Size of the tried image in strides of the backbone; small, and not square."""


def refusals(pipeline: Pipeline) -> dict[str, str]:
    """Tries every seed head on one small image and a model with random weights.

    What only shows with trained weights, or is no mistake of the user's, is left to the run.

    Args:
        pipeline: Stages that train classifiers and stages that make maps with them.

    Returns:
        Why, by the name of the stage of maps that cannot be.

    Raises:
        ConfigError: A classifier that cannot be built.
    """
    found: dict[str, str] = {}
    configs = {step.stage.name: step.config for step in pipeline.steps}
    waiting: dict[str, list[SeedStage]] = {}
    for step in pipeline.steps:
        if isinstance(step.stage, SeedStage):
            waiting.setdefault(step.stage.model, []).append(step.stage)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, stages in waiting.items():
            model = untrained(configs[name]['config'])
            for stage in stages:
                reason = _refusal(stage, model)
                if reason is not None:
                    found[stage.name] = reason
    return found


def untrained(cfg: Mapping[str, Any]) -> WSSSClassifier:
    """The model of a training config with random weights; nothing is fetched.

    Raises:
        ConfigError: It is no classifier, or has a mistake.
    """
    init_default_scope(SCOPE)
    model = copy.deepcopy(fill_num_classes(Config(dict(cfg))).to_dict()['model'])
    for node in typed_nodes(model):
        for key in ('pretrained', 'init_cfg'):
            if node.get(key):
                node[key] = False if key == 'pretrained' else None  # type: ignore[index]
    return build_as(MODELS, model, WSSSClassifier).eval()


def _refusal(stage: SeedStage, model: WSSSClassifier) -> str | None:
    """Why the head of a stage refuses a model; None when it does not."""
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
