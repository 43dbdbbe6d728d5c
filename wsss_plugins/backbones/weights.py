"""Reading weights of other people's files without running other people's code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from wsss_plugins.errors import CheckpointError

_WRAPPERS = ('state_dict', 'model', 'model_state', 'teacher')


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Reads a checkpoint file (.pth, .pt, .safetensors or .npz).

    Nothing is unpickled but tensors and plain Python values.

    Raises:
        CheckpointError: Missing, damaged, or holding anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'checkpoint {path} does not exist')
    try:
        if path.suffix == '.safetensors':
            return dict(load_file(path))
        if path.suffix == '.npz':
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        return dict(torch.load(path, map_location='cpu', weights_only=True))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f'checkpoint {path} holds more than weights (or is damaged) and was not '
            'loaded: it could run code; export its tensors as .safetensors'
        ) from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f'checkpoint {path} cannot be read: {reason}') from error


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Reads the tensors of a checkpoint, out of the usual wrappers."""
    content = read_checkpoint(path)
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping):
            content = dict(content[key])
            break
    return {
        name.removeprefix('module.'): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }


@dataclass(frozen=True)
class LoadReport:
    """Which keys of a checkpoint met the model, and which did not."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    other_shape: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f'{len(self.loaded)} loaded']
        for title in ('missing', 'unexpected', 'other_shape'):
            keys = getattr(self, title)
            if keys:
                more = ', ...' if len(keys) > 3 else ''
                parts.append(
                    f'{len(keys)} {title.replace("_", " ")} ({", ".join(keys[:3])}{more})'
                )
        return '; '.join(parts)


def load_weights(
    model: nn.Module, weights: Mapping[str, Tensor], source: str, strict: bool
) -> LoadReport:
    """Copies the tensors whose name and shape agree into ``model``.

    Args:
        model: Filled in place.
        weights: Name to tensor.
        source: The file's name, for messages.
        strict: Every tensor of the model must be given and fit.

    Returns:
        What was loaded and what was not.

    Raises:
        CheckpointError: Nothing fits, or ``strict`` and something does not.
    """
    own = model.state_dict()
    same = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    report = LoadReport(
        loaded=tuple(same),
        missing=tuple(k for k in own if k not in weights),
        unexpected=tuple(k for k in weights if k not in own),
        other_shape=tuple(k for k in weights if k in own and k not in same),
    )
    misfit = report.missing or report.unexpected or report.other_shape
    if not same or (strict and misfit):
        raise CheckpointError(
            f'checkpoint {source} is of another model than {type(model).__name__}: '
            f'{report}; give the checkpoint that belongs to this config'
        )
    model.load_state_dict(same, strict=False)
    return report
