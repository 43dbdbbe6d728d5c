"""Reads files of weights without running code that is in them."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from wsss_plugins.backbones.package_weights import PREFIX, package_file
from wsss_plugins.backbones.released import from_released_acr, is_released_acr
from wsss_plugins.errors import CheckpointError, near_names

SHIPPED = Path(__file__).parents[1] / 'pretrained'
"""Weights that come with the package; each is named by its file, without the suffix."""

_WRAPPERS = (
    'state_dict', 'model', 'model_state', 'model_state_dict', 'teacher', 'net', 'network',
    'weights', 'params', 'module', 'state_dict_ema', 'model_ema', 'ema',
)  # fmt: skip
"""Keys under which other projects keep their weights, in the order of preference."""

_PREFIXES = ('module.', '_orig_mod.', 'model.')
"""What DataParallel, torch.compile and Lightning write before the names of a model."""


def shipped_weights() -> dict[str, Path]:
    """File by name of the weights that come with the package."""
    return {path.stem: path for path in sorted(SHIPPED.glob('*.safetensors'))}


def weights_file(given: Path | str) -> Path:
    """The file of weights that ``pretrained=`` means.

    Args:
        given: A path, a name of :func:`shipped_weights` such as ``'synthetic'``, or
            ``'package:NAME'`` for the file in an installed Python package.

    Raises:
        CheckpointError: ``given`` is a single word that is neither a file nor a name of
            :func:`shipped_weights`, or names a package without one file of weights.
    """
    if str(given).startswith(PREFIX):
        return package_file(str(given))
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


def header_of(path: Path) -> dict[str, str]:
    """The metadata as of :func:`header`; empty if the file is missing or damaged."""
    try:
        return header(path) if path.is_file() else {}
    except (SafetensorError, OSError):
        return {}  # loading the weights raises an error that names the fault


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
        with _namespaces_allowed():
            return dict(torch.load(path, map_location='cpu', weights_only=True))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f'checkpoint {path} holds more than weights (or is damaged) and was not '
            'loaded: it could run code; export its tensors as .safetensors'
        ) from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f'checkpoint {path} cannot be read: {reason}') from error


def _namespaces_allowed() -> AbstractContextManager[Any]:
    """Lets ``torch.load`` read the options that DeiT's and MAE's files keep beside weights.

    An ``argparse.Namespace`` holds plain values and runs nothing when it is read.
    """
    allow = getattr(torch.serialization, 'safe_globals', None)  # torch 2.5 and later
    return nullcontext() if allow is None else allow([argparse.Namespace])


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Reads the tensors of a checkpoint, out of the wrappers that projects put around them.

    The tensors lie at the top level, under a known key such as ``state_dict`` or
    ``model_state_dict``, or in the dict with the most tensors. Prefixes of DataParallel,
    torch.compile and Lightning are taken off. A checkpoint of the released ACR code comes
    under the names of our classifier.

    Raises:
        CheckpointError: The file cannot be read, or holds no tensor of plain numbers;
            lists its keys and says how to export weights.
    """
    content = read_checkpoint(path)
    weights = _unprefixed(_tensors(_unwrapped(content)))
    if not weights:
        keys = ', '.join(sorted(map(str, content))[:12]) or 'none'
        raise CheckpointError(
            f'checkpoint {path} holds no weights that are known as such; its keys are: '
            f"{keys}. Export them with torch.save(model.state_dict(), 'weights.pth')"
        )
    strange = [name for name, value in weights.items() if not _is_plain(value)]
    if strange:
        raise CheckpointError(
            f'checkpoint {path} holds {strange[0]} as a tensor that is complex, sparse, '
            'quantised or without values, and weights are plain numbers: export it anew'
        )
    if is_released_acr(weights):
        return from_released_acr(weights, str(path))
    return weights


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(k): v for k, v in content.items() if isinstance(v, Tensor)}


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor holds real numbers, one for each element."""
    dense = value.layout == torch.strided and not value.is_quantized
    return dense and not value.is_meta and not value.is_complex()


def _unwrapped(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The dict with the weights: ``content``, or one that lies in it, however deep."""
    inner = {k: v for k, v in content.items() if isinstance(v, Mapping)}
    if len(_tensors(content)) > len(inner):
        return content
    named = [inner[key] for key in _WRAPPERS if key in inner]
    found = [_unwrapped(each) for each in named or inner.values()]
    full = [each for each in found if _tensors(each)]
    if named and full:
        return full[0]
    return max(full, key=lambda each: len(_tensors(each)), default=content)


def _unprefixed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Takes off prefixes that most names have; names without are of other modules."""
    while weights:
        counts = {p: sum(k.startswith(p) for k in weights) for p in _PREFIXES}
        prefix = max(counts, key=lambda p: counts[p])
        if 2 * counts[prefix] <= len(weights):
            return weights
        weights = {
            name.removeprefix(prefix): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }
    return weights


@dataclass(frozen=True)
class LoadReport:
    """The keys of a checkpoint that fit the model, and those that do not."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    other_shape: tuple[str, ...]

    def __str__(self) -> str:
        """Text with the number of loaded keys, and the first keys of each other kind."""
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
        CheckpointError: No tensor fits, one does not fit with ``strict``, or one that fits
            holds NaN or infinity.
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
    if wrong := not_finite(same):
        raise CheckpointError(
            f'checkpoint {source} holds values that are not finite ({wrong}): load other '
            'weights, or train again with a lower learning rate'
        )
    misfit = report.missing or report.unexpected or report.other_shape
    if not same or (strict and misfit):
        raise CheckpointError(
            f'checkpoint {source} is of another model than {type(model).__name__}: '
            f'{report}; give the checkpoint that belongs to this config'
        )
    model.load_state_dict(same, strict=False)
    return report


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """Names the first tensor with NaN or infinity, and counts the others; '' for none."""
    wrong = [
        name
        for name, value in tensors.items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    more = f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''
    return f'{wrong[0]}{more}' if wrong else ''


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
