"""Exports the backbone of a trained model as initial weights, with its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from wsss_plugins.backbones import read_weights
from wsss_plugins.backbones.named_weights import (
    DECLARED,
    LEARNT_KEY,
    declared_supervision,
)
from wsss_plugins.config import plain
from wsss_plugins.errors import CheckpointError
from wsss_plugins.provenance.files import weights_metadata
from wsss_plugins.structures import atomic_path, load_json, save_json
from wsss_plugins.structures.card import SupervisionCard, in_words
from wsss_plugins.structures.card_text import card_from_json, card_to_json
from wsss_plugins.structures.layout import METRICS_FILE, WEIGHTS_FILE

PREFIX = 'backbone.'
PRECISIONS = {'float32': torch.float32, 'float16': torch.float16}


def export_backbone(
    folder: Path,
    out: Path,
    config: str,
    cfg: Mapping[str, Any],
    supervision: str,
    precision: str = 'float16',
) -> dict[str, Any]:
    """Writes the backbone of a model that ``wsss train`` trained, and its card.

    Args:
        folder: Work dir of the training.
        out: File to write, ``.safetensors``. The card is written to its header, and
            beside it as ``.json``.
        config: Name of the training config, for the card.
        cfg: Content of the training config.
        supervision: Annotations that the weights were trained on, as a text that
            ``pretrained_supervision`` in a training config accepts.
        precision: ``'float16'`` or ``'float32'``. Tensors of integers are not converted.

    Returns:
        The content of the ``.json``.

    Raises:
        CheckpointError: ``folder`` has no finished training or no backbone, or a weight
            is not finite in ``precision``.
        ConfigError: ``supervision`` is no known kind of supervision.
    """
    paths = folder / METRICS_FILE, folder / WEIGHTS_FILE
    if not all(path.is_file() for path in paths):
        raise CheckpointError(
            f'{folder} holds no finished training ({METRICS_FILE}, {WEIGHTS_FILE}): give '
            'the work directory of wsss train'
        )
    learnt = in_words(declared_supervision({DECLARED: supervision})[''])
    content = load_json(paths[0])
    card = card_from_json(content['card'])
    told = _told(config, cfg, card) | {LEARNT_KEY: learnt, 'scores': content['metrics']}
    header = {k: v if isinstance(v, str) else json.dumps(v) for k, v in told.items()}
    tensors = _rounded(_backbone(paths[1]), PRECISIONS[precision], out)
    with atomic_path(out) as part:
        save_file(tensors, part, header | weights_metadata(card))
        part.chmod(0o644)  # safetensors writes files that only their owner can read
    count = sum(tensor.numel() for tensor in tensors.values())
    told |= dict(parameters=count, precision=precision, card=card_to_json(card))
    save_json(out.with_suffix('.json'), told)
    return told


def _told(config: str, cfg: Mapping[str, Any], card: SupervisionCard) -> dict[str, Any]:
    """The description of the weights: how they were made, and which backbone they fit."""
    arguments = dict(plain(cfg['model']['backbone']))
    kind = str(arguments.pop('type')).rsplit('.', 1)[-1]
    arguments.pop('pretrained', None)
    split = card.networks[-1].split
    return dict(
        architecture=kind,
        backbone=arguments,
        config=config,
        epochs=cfg['train_cfg']['max_epochs'],
        images=f'{split} of {_data_root(cfg)}',
        seed=', '.join(map(str, card.seeds)),
        commit=', '.join(card.commits),
        date=date.today().isoformat(),
    )


def _data_root(cfg: Mapping[str, Any]) -> str:
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    return str(dataset.get('data_root', 'unknown'))


def _backbone(path: Path) -> dict[str, Tensor]:
    """The tensors of the backbone, without the prefix in their names."""
    found = {
        name.removeprefix(PREFIX): value
        for name, value in read_weights(path).items()
        if name.startswith(PREFIX)
    }
    if not found:
        raise CheckpointError(
            f'{path} has no backbone (no weights named {PREFIX}*): give the work '
            'directory of a classifier'
        )
    return found


def _rounded(
    tensors: Mapping[str, Tensor], dtype: torch.dtype, out: Path
) -> dict[str, Tensor]:
    """Converts floating-point tensors to another precision.

    Raises:
        CheckpointError: A value is not finite in that precision.
    """
    rounded = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in tensors.items()
    }
    for name, value in rounded.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(
                f"{out} was not written: '{name}' is not finite as {dtype}; write it as "
                'float32'
            )
    return rounded
