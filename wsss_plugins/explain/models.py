"""Loads a classifier by its name, file, folder or module."""

from __future__ import annotations

import copy
from pathlib import Path

import timm
from mmengine.config import Config
from torch import nn

from wsss_plugins.backbones import load_weights, read_weights
from wsss_plugins.backbones.timm_kinds import PLAIN
from wsss_plugins.backbones.timm_weights import naming_option
from wsss_plugins.backbones.weights import SHIPPED
from wsss_plugins.classifiers import TimmClassifier, WSSSClassifier
from wsss_plugins.config import load_config
from wsss_plugins.config_files import config_names, find_config
from wsss_plugins.engine.model_file import (
    forget_starts,
    has_model_config,
    read_model_config,
)
from wsss_plugins.engine.workers import device
from wsss_plugins.errors import CheckpointError, ConfigError, near_names
from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.stages.explanations.attribution import refuse_nan_weights
from wsss_plugins.stages.train import load_trained
from wsss_plugins.structures.layout import FORMER_MODEL_FILE, MODEL_FILE

FILES = ('.py', '.pth', '.pt', '.safetensors', '.npz')


def load_model(
    model: nn.Module | Path | str, weights: Path | str | bool = True
) -> WSSSClassifier:
    """Loads a classifier and checks its weights.

    Args:
        model: The name of a vision transformer of timm, or of :func:`shipped_models`; the
            folder of a training (``model.json`` and ``weights.safetensors``) or a
            checkpoint in it; the config of a training; a :class:`WSSSClassifier`, which
            is returned as it is; or a vision transformer of timm, which is copied.
        weights: A file of weights; True for the weights that belong to ``model``; False
            for random weights, to try things out.

    Returns:
        The classifier, in evaluation mode unless it was given.

    Raises:
        ConfigError: The name is unknown, or the model is not a vision transformer.
        CheckpointError: The weights are missing, do not fit or are not finite.
    """
    if isinstance(model, WSSSClassifier):
        found = model
    elif isinstance(model, PLAIN):
        found = TimmClassifier(copy.deepcopy(model)).eval()
    elif isinstance(model, nn.Module):
        raise ConfigError(
            f'the model is a {type(model).__name__}, whose attention cannot be read: '
            'give a WSSSClassifier, or a vision transformer of timm (vit_*, deit_*)'
        )
    else:
        source = weights if isinstance(weights, bool) else str(weights)
        model = shipped_models().get(str(model), model)
        if _is_file(model):
            found = _from_files(Path(model), source)
        else:
            _check_name(str(model))
            with naming_option(lambda _: '--weights FILE, or weights=FILE in Python'):
                found = TimmClassifier(str(model), source)
        found = found.eval().to(device())
    refuse_nan_weights(found)
    return found


def shipped_models() -> dict[str, Path]:
    """Folder by name of the trained classifiers that come with the package."""
    return {path.name: path for path in sorted(SHIPPED.iterdir()) if path.is_dir()}


def _check_name(name: str) -> None:
    """Refuses a name that neither timm nor the package has."""
    if name.split('.')[0] in timm.list_models():
        return
    shipped = list(shipped_models())
    allowed = [*shipped, *timm.list_models(['*vit*', '*deit*', '*eva*'])]
    raise ConfigError(
        f"neither this package nor timm has a model '{name}': "
        f'{near_names(name, allowed, 6)}; trained models of this package: '
        f'{", ".join(shipped)}',
        token=name,
    )


def _is_file(model: Path | str) -> bool:
    path = Path(model)
    written = len(path.parts) > 1 or path.suffix in FILES or isinstance(model, Path)
    return written or path.exists()


def _from_files(path: Path, weights: str | bool) -> WSSSClassifier:
    """The model of a folder, a checkpoint or a config."""
    if not path.exists() and str(path) in config_names():
        path = find_config(path)
    if not path.exists():
        raise ConfigError(
            f'model {path} does not exist: give the folder of a training, a checkpoint '
            'in it, a config, or a name of timm such as vit_base_patch16_224'
        )
    if path.is_dir() and weights is True:
        model = load_trained(path, WSSSClassifier)
        cfg = Config(read_model_config(path))
    else:
        cfg = _model_config(path, weights)
        forget_starts(cfg)  # other weights follow
        model = build_as(MODELS, cfg.model, WSSSClassifier)
        if weights:
            file = str(path if weights is True else weights)
            load_weights(model, read_weights(file), file, strict=True)
    model.class_names = cfg.get('classes', ())
    return model


def _model_config(path: Path, weights: str | bool) -> Config:
    """The config of the model in a folder, beside a checkpoint, or in a config file."""
    described = path.name in (MODEL_FILE, FORMER_MODEL_FILE)
    if weights is True and (described or path.suffix == '.py'):
        raise CheckpointError(
            f'config {path} says how a model is built and not what it has learnt: give '
            'its weights too, or the folder of its training'
        )
    if described or path.suffix != '.py':
        folder = path if path.is_dir() else path.parent
        if not has_model_config(folder):
            raise CheckpointError(
                f'{path} does not say of which model it is, there is no '
                f'{folder / MODEL_FILE}: give the name or the config of the model, and '
                'the file as its weights'
            )
        return Config(read_model_config(folder))
    cfg = load_config(path)
    if 'model' not in cfg:
        raise ConfigError(f"config {path} has no 'model': give a training config")
    return cfg
