"""Builds all parts of a training without training, to find errors before a run."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from torch import nn

from wsss_plugins.config import find_type, plain
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.datasets.configs import bare_config
from wsss_plugins.engine.model_file import forget_starts
from wsss_plugins.engine.runner import WSSSRunner
from wsss_plugins.engine.speed import Speed
from wsss_plugins.errors import ConfigError, UserError, described
from wsss_plugins.registry import DATASETS, MODELS, SCOPE, build_as
from wsss_plugins.stages.classes import fill_num_classes
from wsss_plugins.stages.train import TrainStage, runner_config

TOGETHER = (
    ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    ('val_dataloader', 'val_cfg', 'val_evaluator'),
    ('test_dataloader', 'test_cfg', 'test_evaluator'),
)
"""Groups of keys of a training config; mmengine's Runner needs all of a group or none."""


class Rehearsals:
    """Builds the parts of several trainings; a data set that they share is read once."""

    def __init__(self) -> None:
        self._data_sets: dict[str, WSSSDataset] = {}

    def __call__(self, stage: TrainStage) -> nn.Module:
        """Builds model, data sets, transforms, optimiser, schedules, hooks and metrics.

        Nothing is downloaded, written or trained, and no weights are read. Label maps
        that an earlier stage makes need not exist.

        Args:
            stage: The stage of the training.

        Returns:
            The model with random weights, in evaluation mode.

        Raises:
            UserError: A part cannot be built; the message names the stage and the key of
                the part in the training config.
        """
        name = stage.name
        if stage.cfg.get('model') is None:
            raise ConfigError(
                f"stage '{name}': its config has no 'model' to train", token=name
            )
        part = _Naming(name)
        model = part('model', lambda: untrained(stage.cfg))
        if stage.backbone and not stage.cfg.model.get('backbone'):
            raise ConfigError(
                f"stage '{name}' begins with the backbone of '{stage.backbone}', and its "
                "model has no 'backbone'",
                token='backbone',
            )
        if any(stage.cfg.get(key) is not None for key in TOGETHER[0]):
            cfg = part('config', lambda: runner_config(stage.cfg, Path(name), 0, name))
            self._build(cfg, model, part, bool(stage.label_maps))
        return model.eval()

    def _build(
        self, cfg: Config, model: nn.Module, part: _Naming, label_maps: bool
    ) -> None:
        for keys in TOGETHER:
            missing = [key for key in keys if cfg.get(key) is None]
            if missing and len(missing) < len(keys):
                raise ConfigError(
                    f"stage '{part.stage}': its config has no '{missing[0]}', which goes "
                    f'with {", ".join(k for k in keys if k not in missing)}',
                    token=next(key for key in keys if key not in missing),
                )
        for loader in ('train_dataloader', 'val_dataloader'):
            if cfg.get(loader) is not None:
                made_later = label_maps and loader == 'train_dataloader'
                given = plain_dict(cfg[loader].dataset)
                cfg[loader].dataset = None
                built = part(loader, partial(self._data_set, given, made_later))
                cfg[loader] = dict(cfg[loader].to_dict(), dataset=built)
        runner = RehearsalRunner(cfg, model)
        part('speed', runner.rehearse_speed)
        part('train_cfg', runner.rehearse_training)
        part('optim_wrapper', runner.rehearse_optimiser)
        part('param_scheduler', runner.rehearse_schedules)
        part('val_evaluator', runner.rehearse_validation)
        part('custom_hooks', runner.rehearse_hooks)

    def _data_set(self, cfg: Any, label_maps: bool) -> Any:
        """Builds the data set of a loader, and its transforms; pixels are not read."""
        if not isinstance(cfg, Mapping):
            return cfg
        kind = find_type(cfg.get('type'))
        if not (isinstance(kind, type) and issubclass(kind, WSSSDataset)):
            cfg = dict(cfg)
            for key in ('dataset', 'datasets'):  # keys of wrappers of data sets
                inner = cfg.get(key)
                if isinstance(inner, list):
                    cfg[key] = [self._data_set(each, label_maps) for each in inner]
                elif inner is not None:
                    cfg[key] = self._data_set(inner, label_maps)
            return DATASETS.build(cfg)
        Compose(copy.deepcopy(cfg.get('pipeline') or []))
        bare = bare_config(cfg, 'leave_out', *(['label_maps'] if label_maps else []))
        key = json.dumps(plain(bare), sort_keys=True, default=str)
        if key not in self._data_sets:
            self._data_sets[key] = build_as(DATASETS, bare, WSSSDataset)
        return self._data_sets[key]


class _Naming:
    """Calls a function; an error gets the stage and the key of its config in its message."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def __call__(self, key: str, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except UserError as error:
            message = f"stage '{self.stage}', {key}: {_one_line(error)}"
            if isinstance(error, ConfigError):
                raise ConfigError(message, token=error.token) from error
            raise type(error)(message) from error
        except Exception as error:  # of another library's constructor
            raise ConfigError(
                f"stage '{self.stage}': its {key} cannot be built, {described(error)}",
                token=key,
            ) from error


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())


def plain_dict(cfg: Any) -> Any:
    """Converts a part of a config to plain dicts and lists."""
    return cfg.to_dict() if hasattr(cfg, 'to_dict') else copy.deepcopy(cfg)


def untrained(cfg: Mapping[str, Any]) -> nn.Module:
    """Builds the model of a training config with random weights; nothing is downloaded.

    Raises:
        ConfigError: A type in the config is not registered, or does not take one of its
            arguments.
    """
    init_default_scope(SCOPE)
    filled = fill_num_classes(Config(dict(cfg))).to_dict()
    model = copy.deepcopy(filled['model'])
    if filled.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', filled['data_preprocessor'])
    forget_starts(model)
    return build_as(MODELS, model, nn.Module).eval()


class RehearsalRunner(WSSSRunner):
    """A Runner that builds its parts with mmengine's methods and does not train.

    It has no folder, no log file and no process group.

    Args:
        cfg: A complete config; the data sets of its loaders are built already.
        model: The model.
    """

    def __init__(self, cfg: Config, model: nn.Module) -> None:
        self.cfg = cfg
        self.model = model
        self.logger: Any = logging.getLogger('wsss_plugins.rehearsal')
        self.visualizer: Any = SimpleNamespace(dataset_meta=None)
        self._randomness_cfg = dict(seed=0)
        self._seed = 0
        self._distributed = False
        self._hooks: list[Hook] = []
        self._train_dataloader = cfg.get('train_dataloader')
        self._val_dataloader = cfg.get('val_dataloader')
        self._train_loop = cfg.get('train_cfg')
        self._val_loop = cfg.get('val_cfg')
        self._val_evaluator = cfg.get('val_evaluator')

    def rehearse_speed(self) -> None:
        """Refuses switches that do not work with the model."""
        Speed.of(self.cfg).check(self.model)

    def rehearse_training(self) -> None:
        """Builds the loop of the training and its data loader."""
        self._train_loop = self.build_train_loop(self._train_loop)

    def rehearse_optimiser(self) -> None:
        """Builds the optimiser as the training will."""
        self.optim_wrapper = self.build_optim_wrapper(
            plain_dict(self.cfg.optim_wrapper)
        )

    def rehearse_schedules(self) -> None:
        """Builds the schedules of the learning rate, and checks them against the training."""
        schedules = self.cfg.get('param_scheduler')
        if schedules is not None:
            self._check_scheduler_cfg(schedules)
            self.build_param_scheduler(schedules)

    def rehearse_validation(self) -> None:
        """Builds the loop of the validation, its data loader and its metrics."""
        if self._val_loop is not None:
            self.build_val_loop(self._val_loop)

    def rehearse_hooks(self) -> None:
        """Builds the hooks without calling them."""
        self.register_hooks(self.cfg.get('default_hooks'), self.cfg.get('custom_hooks'))
