"""Reads files of weights without running code that is in them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from wsss_plugins.backbones.released import from_released_acr, is_released_acr
from wsss_plugins.errors import CheckpointError, near_names

SHIPPED = Path(__file__).parents[1] / 'pretrained'
"""Weights that come with the package; each is named by its file, without the suffix."""

_WRAPPERS = ('state_dict', 'model', 'model_state', 'teacher')


def shipped_weights() -> dict[str, Path]:
    """File by name of the weights that come with the package."""
    return {path.stem: path for path in sorted(SHIPPED.glob('*.safetensors'))}


def weights_file(given: Path | str) -> Path:
    """The file of weights that ``pretrained=`` means.

    Args:
        given: A path, or a name of :func:`shipped_weights` such as ``'synthetic'``.

    Raises:
        CheckpointError: ``given`` is a single word that is neither a file nor a name of
            :func:`shipped_weights`.
    """
    path, shipped = Path(given), shipped_weights()
    if path.suffix or len(path.parts) > 1 or path.exists():
        return path
    if str(given) not in shipped:
        raise CheckpointError(
            f"'{given}' is neither a file of weights nor a start that comes with the "
            f'package: {near_names(str(given), shipped)}; or give the path of a file'
        )
    return shipped[str(given)]


def header(path: Path | str) -> dict[str, str]:
    """The metadata of a ``.safetensors`` file; empty for other files."""
    if Path(path).suffix != '.safetensors':
        return {}
    with safe_open(str(path), 'pt') as file:
        return dict(file.metadata() or {})


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """Reads a checkpoint file (.pth, .pt, .safetensors or .npz).

    Only tensors and plain Python values are unpickled. A name of
    :func:`shipped_weights` is accepted as well.

    Raises:
        CheckpointError: The file is missing, damaged, or holds other objects.
    """
    path = weights_file(path)
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
    """Reads the tensors of a checkpoint, also inside the usual wrappers.

    Weights of the released ACR code are renamed to the names of this package.
    """
    content = read_checkpoint(path)
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping):
            content = dict(content[key])
            break
    weights = {
        name.removeprefix('module.'): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }
    if is_released_acr(weights):
        return from_released_acr(weights, str(path))
    return weights


@dataclass(frozen=True)
class LoadReport:
    """The keys of a checkpoint that fit the model, and those that do not."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    other_shape: tuple[str, ...]

    def __str__(self) -> str:
        """How many keys were loaded, and the first keys that were not, by kind."""
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
        source: The file's name, for messages. Weights that come with the package must
            fit, except the biases of E-MHA, which they do not have.
        strict: Whether every tensor of the model must be given and fit.

    Returns:
        The report of what was loaded and what was not.

    Raises:
        CheckpointError: No tensor fits, or one does not fit with ``strict``.
    """
    own = model.state_dict()
    same = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    report = LoadReport(
        loaded=tuple(same),
        missing=tuple(k for k in own if k not in weights),
        unexpected=tuple(k for k in weights if k not in own),
        other_shape=tuple(k for k in weights if k in own and k not in same),
    )
    _check_shipped(source, report)
    misfit = report.missing or report.unexpected or report.other_shape
    if not same or (strict and misfit):
        raise CheckpointError(
            f'checkpoint {source} is of another model than {type(model).__name__}: '
            f'{report}; give the checkpoint that belongs to this config'
        )
    model.load_state_dict(same, strict=False)
    return report


def _check_shipped(source: str, report: LoadReport) -> None:
    """Refuses to load the weights of the package in part, which would go unnoticed.

    Raises:
        CheckpointError: The backbone has another size; the message says which fits.
    """
    path = shipped_weights().get(source)
    missing = [key for key in report.missing if not key.endswith('.attn.bias')]
    if path is None or not (missing or report.unexpected or report.other_shape):
        return
    fits = json.loads(header(path).get('backbone', '{}'))
    arguments = ', '.join(f'{key}={value!r}' for key, value in fits.items())
    raise CheckpointError(
        f"pretrained='{source}' does not fit this backbone ({report}): build it with "
        f'{arguments}'
    )
